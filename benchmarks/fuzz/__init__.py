"""Files made wrong on purpose, any number of them: `python -m benchmarks.fuzz --help`.

files.py         safetensors files: a right one is described, and the description spoiled
checkpoints.py   checkpoints: values and arrays are spoiled, and the digest is right again
judging.py       what our reading says of a file, and whether safetensors agrees
__main__.py      the command

A file is made from a seed and its number alone, so one that is judged wrongly can be made again.
"""
