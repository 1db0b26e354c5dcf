"""Right answers from elsewhere: ONNX's node cases and PyTorch's OpInfo samples."""
