// The only file that knows Python: types, shapes and lifetimes are checked here, kernels see
// pointers and sizes.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

#include "log_softmax/log_softmax.h"

namespace nb = nanobind;
using namespace nb::literals;

using Matrix = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ConstMatrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

static void log_softmax_arrays(ConstMatrix x, Matrix y) {
  if (x.shape(0) != y.shape(0) || x.shape(1) != y.shape(1))
    throw std::invalid_argument("log_softmax: x and y must have one shape");
  if (x.shape(1) == 0) throw std::invalid_argument("log_softmax: rows must not be empty");
  const size_t T = x.shape(0), V = x.shape(1);
  nb::gil_scoped_release release;
  log_softmax(x.data(), y.data(), T, V);
}

NB_MODULE(_cpu, m) {
  m.def("log_softmax", &log_softmax_arrays, "x"_a.noconvert(), "y"_a.noconvert(),
        "Writes log-probabilities of each row of x into y; float32, C-contiguous, one shape.");
}
