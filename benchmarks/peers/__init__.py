"""One module a library; `make(problem, sizes, **options)` of each builds its Work.

ours.py        this library
pytorch.py     PyTorch eager and compiled, written as its users write it
jax.py         JAX, the whole step compiled
autograd.py    HIPS autograd
mygrad.py      MyGrad
floor.py       only the matrix products, or only the arithmetic, in bare NumPy
plain.py       AdamW and clipping in plain NumPy, for autograd and MyGrad
startup.py     importing a package in a fresh process
"""
