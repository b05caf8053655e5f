"""Programs for NVIDIA's GPUs, from the same groups and the same scalar rules as the CPU's.

Rooms, in the order of the way: program.py (an ending of kernels/program.py: steps become launches), plan.py (how a group is launched), tiling.py (chains
tile by tile), skeletons.py and striding.py (a group's code in threads and blocks; how a thread goes over its entries), code.py (the words for threads, for a
GPU and for the simulator), compile.py (PTX), products.py and cublas.py (products as cuBLAS takes them; the calls), device.py (the GPU, by way of CuPy),
simulator.py (a grid of threads on the CPU), proof.py (what can be known without a GPU).

Why PTX from LLVM and not numba.cuda: the scalar rules, the structures of groups and the writer of LLVM's instructions are there already, llvmlite has the
backend, a kernel takes it 10 to 30 ms (numba-cuda: 40 to 100), and the simulator runs the very same instructions.
"""
