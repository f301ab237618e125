"""Wrote the files beside it, with numpy 2.4.6 and safetensors 0.8.0: golden files that judgeq did not make itself."""
import numpy
from safetensors.numpy import save_file

array = (numpy.arange(6, dtype="<f4").reshape(2, 3) - 2.5) * numpy.float32(1.1)
numpy.save("f4_2x3.npy", array)
numpy.save("f2_2x3.npy", array.astype("<f2"))
numpy.save("f8_2x3.npy", array.astype("<f8"))
numpy.save("fortran_2x3.npy", numpy.asfortranarray(array))
save_file({"soft": array}, "one.safetensors")
save_file({"soft": array, "half": array.astype("<f2")}, "two.safetensors", metadata={"note": "a test"})
