"""The figures that the README quotes, each from a script that anyone can run: `python -m benchmarks.<name>`."""
