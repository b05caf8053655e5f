"""Programs for NVIDIA's GPUs, from the same groups and the same scalar rules as the CPU's.

Rooms: plan.py (how a group is launched), skeletons.py (its code in threads and blocks), code.py (the words for threads, for a GPU and for the simulator),
compile.py (PTX), products.py (cuBLAS's arguments), device.py (the GPU, by way of CuPy), simulator.py (a grid of threads on the CPU), program.py.

Why PTX from LLVM and not numba.cuda: the scalar rules, the structures of groups and the writer of LLVM's instructions are there already, llvmlite has the
backend, a kernel takes it 10 to 30 ms (numba-cuda: 40 to 100), and the simulator runs the very same instructions.
"""
