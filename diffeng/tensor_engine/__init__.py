"""What stands behind Tensor: how operations are recorded, what they mean, how a step is compiled. The face is diffeng/tensors.py."""
