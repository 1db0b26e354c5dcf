"""Right answers from elsewhere: ONNX's node cases and PyTorch's OpInfo samples.

    python -m benchmarks.oracle PATH        every case in a folder, and who failed

    samples.py, operators.py    how an adapter answers a sample of PyTorch's, a case of ONNX's
    opinfo.py and opinfo_*      what PyTorch's operations are here
    onnx.py and onnx_*          what ONNX's operators are here
    gradients.py                gradients at ONNX's inputs, against numeric differentiation

Adapters are thin: they rename and choose among options.  What they cannot say with an operation of
this library is unsupported.
"""
