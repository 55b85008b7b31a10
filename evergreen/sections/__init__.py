"""The sections of params.yaml: every field, its unit and its range.

base.py      what they share
pipeline.py  the stages up to the model, and what it is documented and packaged with
gate.py      the rules of the verdict
loop.py      the service, the watch over it, and when and how a new version comes about
"""
