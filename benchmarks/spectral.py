"""Fourier transforms and convolutions: spectral methods and filters, value and gradient under jit, beside JAX.

What it is: each workload is written once, takes the numpy it runs on, and is checked and timed as in matrices.py.
Expected: what bounds these is the transform itself. Of 256 complex numbers it is 10,240 operations, and columns side by side should run at 40 of them a nanosecond (two
vectors of 8 an instant, loads and stores beside them), so that a function of hundreds of transforms takes some 0.3 us for each; around them loops over real and imaginary
parts, which lie apart. Convolutions are a few matrix products, of twice the operations that are asked for at most, at half of a product's speed.
Seen: docs/performance.md. 40 to 60 a nanosecond for columns of 64 to 2048 numbers that lie close; where they lie a power of two apart, as in 64 x 64 and 256 x 256, their
lines share sets of the cache, and they take twice as long. Copying them first, row by row, gained 8 % of 64 x 64 and nothing of 256 x 256: reading is what takes the time.

Run: python benchmarks/spectral.py           (needs `pip install jax`)
"""
import numpy

from matrices import main


def korteweg_de_vries(np, u, k, count):
    """Runge-Kutta steps with an integrating factor (Trefethen, Spectral Methods in MATLAB, program 27)."""
    h = 1e-5
    g, E = -0.5j * h * k, np.exp(0.5j * h * k ** 3)

    def slope(v):
        return g * np.fft.fft(np.real(np.fft.ifft(v)) ** 2)
    v = np.fft.fft(u)
    for _ in range(count):
        a = slope(v)
        b = slope(E * (v + a / 2))
        c = slope(E * v + b / 2)
        d = slope(E * E * v + E * c)
        v = E * E * v + (E * E * a + 2 * E * (b + c) + d) / 6
    return np.sum(np.real(np.fft.ifft(v)) ** 4)


def schroedinger(np, psi, k, potential, count):
    """Split steps of a nonlinear Schroedinger equation."""
    psi = psi + 0j
    for _ in range(count):
        psi = np.fft.ifft(np.exp(-0.5e-3j * k ** 2) * np.fft.fft(psi))
        psi = psi * np.exp(-1e-3j * (potential + np.abs(psi) ** 2))
    return np.sum(np.abs(psi) ** 2 * potential)


def vorticity(np, w, kx, ky, count):
    """Steps of the Navier-Stokes equations in two dimensions, by complex transforms as they are usually written."""
    k2 = kx ** 2 + ky ** 2 + (kx ** 2 + ky ** 2 == 0)
    w = np.fft.fft2(w)
    for _ in range(count):
        psi = w / k2
        u, v = np.real(np.fft.ifft2(1j * ky * psi)), np.real(np.fft.ifft2(-1j * kx * psi))
        flow = u * np.real(np.fft.ifft2(1j * kx * w)) + v * np.real(np.fft.ifft2(1j * ky * w))
        w = (w - 1e-3 * np.fft.fft2(flow)) / (1 + 1e-6 * k2)
    return np.sum(np.abs(w) ** 2 / k2) / w.size ** 2


def vorticity_of_real(np, w, kx, ky, count):
    """The same by transforms of real numbers."""
    k2, shape = kx ** 2 + ky ** 2 + (kx ** 2 + ky ** 2 == 0), w.shape
    w = np.fft.rfft2(w)
    for _ in range(count):
        psi = w / k2
        u, v = np.fft.irfft2(1j * ky * psi, shape), np.fft.irfft2(-1j * kx * psi, shape)
        flow = u * np.fft.irfft2(1j * kx * w, shape) + v * np.fft.irfft2(1j * ky * w, shape)
        w = (w - 1e-3 * np.fft.rfft2(flow)) / (1 + 1e-6 * k2)
    return np.sum(np.abs(w) ** 2 / k2) / w.size ** 2


def poisson(np, f, k2):
    """The energy of a periodic field, in three dimensions."""
    return np.sum(np.fft.irfftn(np.fft.rfftn(f) / k2, f.shape, (0, 1, 2)) * f)


def filtered(np, x, pattern):
    n = x.shape[-1]
    return np.sum(np.fft.irfft(np.fft.rfft(x) * np.conj(np.fft.rfft(pattern, n)), n) ** 2)


def convolved(np, x, taps):
    return np.sum(np.convolve(x, taps, mode="same") ** 2)


def blurred(np, image, kernel):
    return np.sum((np.fft.irfft2(np.fft.rfft2(image) * np.fft.rfft2(kernel, image.shape), image.shape) - image) ** 2)


def spectrogram(np, x, window, frames):
    return np.sum(np.log1p(np.abs(np.fft.rfft(x[frames] * window)) ** 2))


def waves(n, real=False):
    return numpy.fft.rfftfreq(n, 1 / n) if real else numpy.fft.fftfreq(n, 1 / n)


def workloads():
    random = numpy.random.default_rng(0)
    yield "Korteweg-de Vries, 256, 20 steps", lambda np, u: korteweg_de_vries(np, u, waves(256), 20), (random.standard_normal(256),)
    yield "Schroedinger, 1024, 20 steps", lambda np, p, v: schroedinger(np, p, waves(1024), v, 20), (random.standard_normal(1024), random.standard_normal(1024) ** 2)
    yield "Schroedinger, 1000, 20 steps", lambda np, p, v: schroedinger(np, p, waves(1000), v, 20), (random.standard_normal(1000), random.standard_normal(1000) ** 2)
    for n in (64, 256):
        k = waves(n)
        yield f"Navier-Stokes, {n} x {n}, 10 steps", lambda np, w, k=k: vorticity(np, w, k[:, None], k, 10), (random.standard_normal((n, n)),)
    yield "of real numbers, 256 x 256", lambda np, w: vorticity_of_real(np, w, waves(256)[:, None], waves(256, True), 10), (random.standard_normal((256, 256)),)
    k2 = waves(64)[:, None, None] ** 2 + waves(64)[:, None] ** 2 + waves(64, True) ** 2
    yield "Poisson, 64 x 64 x 64", lambda np, f: poisson(np, f, k2 + (k2 == 0)), (random.standard_normal((64, 64, 64)),)
    yield "filter, 16 signals of 4096", filtered, (random.standard_normal((16, 4096)), random.standard_normal((16, 512)))
    yield "filter, a signal of a million", filtered, (random.standard_normal(1 << 20), random.standard_normal(512))
    for n, taps in ((10_000, 100), (100_000, 1000)):
        yield f"convolve, {n} by {taps}", convolved, (random.standard_normal(n), random.standard_normal(taps))
    yield "blur, 256 x 256", blurred, (random.standard_normal((256, 256)), random.standard_normal((9, 9)))
    frames = numpy.arange(0, 16000 - 512, 128)[:, None] + numpy.arange(512)
    yield "spectrogram, 16000 samples", spectrogram, (random.standard_normal(16000), numpy.hanning(512), frames)


if __name__ == "__main__":
    main(workloads())
