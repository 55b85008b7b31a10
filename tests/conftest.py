pytest_plugins = ["tests.postgresql"]
