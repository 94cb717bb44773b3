// The only file that knows Python: types, shapes and lifetimes are checked here, kernels see
// pointers and sizes.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "attention/once.h"
#include "mapped_file.h"
#include "matmul/once.h"
#include "matmul/repack.h"
#include "measure/measure.h"
#include "route/route.h"
#include "transformer.h"

namespace nb = nanobind;
using namespace nb::literals;

template <class Number, size_t dimensions>
using Array = nb::ndarray<Number, nb::ndim<dimensions>, nb::c_contig, nb::device::cpu>;
using Matrix2 = Array<float, 2>;
using ConstMatrix2 = Array<const float, 2>;
using ConstVector = Array<const float, 1>;
using Indices = Array<const int32_t, 1>;

// Rows enough for several threads are worth waking them.
static void over_rows(size_t num_rows, int threads, const auto& work) {
  constexpr size_t kRowsPerItem = 4;
  ThreadPool pool(num_rows > 2 * kRowsPerItem ? threads : 1);
  pool.run((num_rows + kRowsPerItem - 1) / kRowsPerItem, [&](size_t item, int) {
    for (size_t t = item * kRowsPerItem; t < num_rows && t < (item + 1) * kRowsPerItem; ++t)
      work(t);
  });
}

static nb::ndarray<nb::numpy, uint8_t, nb::ndim<2>> pages_of_layer(Transformer& self,
                                                                   size_t layer) {
  const size_t L = self.sizes().num_layers, num_pages = self.attention().num_pages();
  if (layer >= L)
    throw std::invalid_argument("pages: layer " + std::to_string(layer) + " of " +
                                std::to_string(L));
  const size_t bytes = self.attention().page_bytes() / L;
  auto copy = std::make_unique<std::vector<uint8_t>>(num_pages * bytes);
  std::copy_n(self.attention().pages_of_layer(layer), copy->size(), copy->data());
  uint8_t* data = copy->data();
  nb::capsule owner(copy.release(),
                    [](void* all) noexcept { delete static_cast<std::vector<uint8_t>*>(all); });
  return {data, {num_pages, bytes}, owner};
}

static void check_rows(const ConstMatrix2& x, int threads) {
  if (x.shape(1) == 0) throw std::invalid_argument("log_softmax: rows must not be empty");
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be 1 to 1024");
}

static void log_softmax_arrays(const std::string& variant, ConstMatrix2 x, Matrix2 y, int threads) {
  const Kernels& kernels = kernels_of(variant);
  if (x.shape(0) != y.shape(0) || x.shape(1) != y.shape(1))
    throw std::invalid_argument("log_softmax: x and y must have one shape");
  check_rows(x, threads);
  const size_t T = x.shape(0), V = x.shape(1);
  nb::gil_scoped_release release;
  over_rows(T, threads,
            [&](size_t t) { kernels.log_softmax(x.data() + t * V, V, y.data() + t * V); });
}

static void log_softmax_at_arrays(const std::string& variant, ConstMatrix2 x, Indices ids,
                                  Array<float, 1> y, int threads) {
  const Kernels& kernels = kernels_of(variant);
  const size_t T = x.shape(0), V = x.shape(1);
  if (ids.size() != T || y.size() != T)
    throw std::invalid_argument("log_softmax_at: one column per row of x is needed");
  check_rows(x, threads);
  for (size_t t = 0; t < T; ++t)
    if (ids.data()[t] < 0 || static_cast<size_t>(ids.data()[t]) >= V)
      throw std::invalid_argument("log_softmax_at: column " + std::to_string(ids.data()[t]) +
                                  " of " + std::to_string(V));
  nb::gil_scoped_release release;
  over_rows(T, threads, [&](size_t t) {
    const LogSum sum = kernels.log_sum(x.data() + t * V, V);
    y.data()[t] = (x.data()[t * V + ids.data()[t]] - sum.high) - sum.low;
  });
}

static void put_matrix(Transformer& model, const std::string& name, size_t layer, size_t expert,
                       const std::string& type, size_t rows, size_t columns,
                       Array<const uint8_t, 1> bytes) {
  nb::gil_scoped_release release;
  model.matrix(name, layer, expert) =
      repack(type, rows, columns, bytes.data(), bytes.size(), model.pool());
}

static void put_mapped(Transformer& model, const std::string& name, size_t layer, size_t expert,
                       const std::string& type, size_t rows, size_t columns,
                       const std::shared_ptr<MappedFile>& file, size_t offset) {
  Matrix matrix = layout_of(type, rows, columns);
  if (offset % 64 || offset > file->num_bytes() || matrix.num_bytes() > file->num_bytes() - offset)
    throw std::invalid_argument(name + " lies outside the mapped file, or between cache lines");
  matrix.bytes = std::shared_ptr<const uint8_t>(file, file->bytes() + offset);
  model.matrix(name, layer, expert) = std::move(matrix);
}

static void repack_arrays(const std::string& type, size_t rows, size_t columns,
                          Array<const uint8_t, 1> bytes, Array<uint8_t, 1> tiles, int threads) {
  if (threads < 1 || tiles.size() != layout_of(type, rows, columns).num_bytes())
    throw std::invalid_argument("repack: tiles must have repacked_bytes(type, rows, columns)");
  nb::gil_scoped_release release;
  ThreadPool pool(threads);
  repack_into(tiles.data(), type, rows, columns, bytes.data(), bytes.size(), pool);
}

static void put_vector(Transformer& model, const std::string& name, size_t layer,
                       ConstVector numbers) {
  model.vector(name, layer).assign(numbers.data(), numbers.data() + numbers.size());
}

// Single operations, for tests and measurements. y is written whole or an error is raised.
static void matmul_arrays(const std::string& variant, const std::string& type,
                          Array<const uint8_t, 1> bytes, ConstMatrix2 x, Matrix2 y, int threads) {
  const Kernels& kernels = kernels_of(variant);
  if (threads < 1 || x.shape(0) != y.shape(0) || x.shape(1) == 0)
    throw std::invalid_argument("matmul: x and y must have one number of rows");
  const size_t T = x.shape(0), K = x.shape(1), N = y.shape(1);
  nb::gil_scoped_release release;
  ThreadPool pool(threads);
  multiply_once(kernels, repack(type, N, K, bytes.data(), bytes.size(), pool), x.data(), T,
                y.data());
}

static void rms_norm_arrays(const std::string& variant, ConstMatrix2 x, ConstVector scale,
                            Matrix2 y, float eps) {
  const Kernels& kernels = kernels_of(variant);
  const size_t T = x.shape(0), D = x.shape(1);
  if (y.shape(0) != T || y.shape(1) != D || scale.size() != D)
    throw std::invalid_argument("rms_norm: x, scale and y must have one width");
  for (size_t t = 0; t < T; ++t)
    kernels.rms_norm(x.data() + t * D, scale.data(), y.data() + t * D, D, eps);
}

static void swiglu_arrays(const std::string& variant, ConstMatrix2 gate, ConstMatrix2 up,
                          Matrix2 y) {
  for (const auto& shape : {std::pair(gate.shape(0), gate.shape(1)),
                            std::pair(up.shape(0), up.shape(1)), std::pair(y.shape(0), y.shape(1))})
    if (shape != std::pair<size_t, size_t>(gate.shape(0), kRowsPerTile))
      throw std::invalid_argument("swiglu: tiles of sixteen columns are wanted");
  kernels_of(variant).swiglu_tile(gate.data(), up.data(), gate.shape(0), y.data(), kRowsPerTile);
}

// The panel of up to eight rows, as pack.h lays it out: quants (K / 32, n, 32), what goes with them
// (K / 32, n), floats (K, n).
static void pack_arrays(const std::string& variant, ConstMatrix2 x, Array<int8_t, 3> quants,
                        Matrix2 scales, Array<int32_t, 2> minus_8_sums,
                        Array<int32_t, 2> minus_128_sums, Matrix2 scaled_sums, Matrix2 floats) {
  const Kernels& kernels = kernels_of(variant);
  const size_t n = x.shape(0), K = x.shape(1), B = K / kColumnsPerScale;
  const auto is_scale = [&](const auto& a) { return a.shape(0) == B && a.shape(1) == n; };
  if (n > kRowsPerBlock || K % kColumnsPerScale || quants.shape(0) != B || quants.shape(1) != n ||
      quants.shape(2) != kColumnsPerScale || !is_scale(scales) || !is_scale(minus_8_sums) ||
      !is_scale(minus_128_sums) || !is_scale(scaled_sums) || floats.shape(0) != K ||
      floats.shape(1) != n)
    throw std::invalid_argument("pack: the arrays are no panel of x");
  const float* rows[kRowsPerBlock];
  for (size_t t = 0; t < n; ++t) rows[t] = x.data() + t * K;
  kernels.pack_rows(rows, 0, K,
                    {n, K, quants.data(), scales.data(), minus_8_sums.data(), minus_128_sums.data(),
                     scaled_sums.data(), floats.data()});
}

static void quantise_to_bytes_arrays(ConstMatrix2 x, Matrix2 y) {
  const size_t N = x.shape(0), K = x.shape(1);
  if (y.shape(0) != N || y.shape(1) != K || K % 32)
    throw std::invalid_argument("quantise_to_bytes: x and y must have rows of whole blocks of 32");
  ThreadPool pool(1);
  const Matrix matrix = quantise_to_bytes(N, K, x.data(), pool);
  for (size_t n = 0; n < N; ++n) unpack_row(matrix, n, y.data() + n * K);
}

static void rotate_arrays(const std::string& variant, Matrix2 x, ConstVector cos_c,
                          ConstVector sin_c, bool halves) {
  const Kernels& kernels = kernels_of(variant);
  const size_t d = x.shape(1);
  if (d % 2 || cos_c.size() != d / 2 || sin_c.size() != d / 2)
    throw std::invalid_argument("rotate: one angle per pair of coordinates is needed");
  std::vector<float> cos_d(d), sin_d(d);
  for (size_t i = 0; i < d / 2; ++i)
    place_angle({cos_c.data()[i], sin_c.data()[i]}, i, d, halves, cos_d.data(), sin_d.data());
  kernels.rotate_heads(x.data(), x.shape(0), cos_d.data(), sin_d.data(), d, halves);
}

static void route_arrays(const std::string& variant, ConstMatrix2 h, ConstMatrix2 rows,
                         bool renormalises, Array<uint32_t, 2> chosen, Matrix2 weights) {
  const Kernels& kernels = kernels_of(variant);
  const size_t T = h.shape(0), D = h.shape(1), E = rows.shape(0), K = chosen.shape(1);
  if (rows.shape(1) != D || E == 0 || K > E || chosen.shape(0) != T || weights.shape(0) != T ||
      weights.shape(1) != K)
    throw std::invalid_argument("route: shapes contradict each other");
  for (size_t t = 0; t < T; ++t)
    choose_experts(kernels, {D, E, K, renormalises}, h.data() + t * D, rows.data(), nullptr,
                   chosen.data() + t * K, weights.data() + t * K);
}

static void attention_arrays(const std::string& variant, const std::string& kv_format,
                             Array<const float, 3> q, Array<const float, 3> k,
                             Array<const float, 3> v, Indices pages, Indices ends,
                             Array<float, 3> y, int64_t window, float scale, int threads) {
  const Kernels& kernels = kernels_of(variant);
  AttentionOnce once{q.shape(0), q.shape(1), k.shape(0), k.shape(1),
                     q.shape(2), window,     scale,      kv_format_of(kv_format),
                     threads,    {},         {}};
  bool is_bad = once.num_queries > once.num_positions || once.num_kv_heads == 0 ||
                once.num_heads % once.num_kv_heads || window < 1 || threads < 1 ||
                once.num_positions == 0 || pages.size() * kPageTokens < once.num_positions;
  for (size_t i = 0; i < 3; ++i)
    is_bad |= k.shape(i) != v.shape(i) || q.shape(i) != y.shape(i) || q.shape(2) != k.shape(2);
  for (size_t i = 0; i < pages.size(); ++i) {
    is_bad |= pages.data()[i] < 0 || pages.data()[i] > 1024;
    once.pages.push_back(pages.data()[i]);
  }
  int64_t start = 0;
  for (size_t i = 0; i < ends.size(); ++i) {
    is_bad |= ends.data()[i] <= start;
    start = ends.data()[i];
    once.ends.push_back(static_cast<size_t>(start));
  }
  if (is_bad || start != static_cast<int64_t>(once.num_positions))
    throw std::invalid_argument("attention: sizes contradict each other");
  nb::gil_scoped_release release;
  attend_once(kernels, once, q.data(), k.data(), v.data(), y.data());
}

// A notes expert while its layers are put together.
struct NotesExpertDraft {
  NotesExpertDraft() = default;
  NotesExpertDraft(const NotesExpertDraft&) = delete;
  NotesExpert layers;
};

static Matrix notes_matrix(Transformer& model, const ConstMatrix2& numbers) {
  const size_t rows = numbers.shape(0), columns = numbers.shape(1);
  if (model.quantises_experts() && columns % 32 == 0)
    return quantise_to_bytes(rows, columns, numbers.data(), model.pool());
  return repack("F32", rows, columns, reinterpret_cast<const uint8_t*>(numbers.data()),
                rows * columns * sizeof(float), model.pool());
}

static void put_notes_layer(NotesExpertDraft& draft, Transformer& model, size_t layer,
                            ConstVector row, ConstMatrix2 gate, ConstMatrix2 up,
                            ConstMatrix2 down) {
  const size_t D = model.sizes().model_width, m = gate.shape(0);
  if (layer >= model.sizes().num_layers || row.size() != D || gate.shape(1) != D ||
      up.shape(0) != m || up.shape(1) != D || down.shape(0) != D || down.shape(1) != m || m == 0)
    throw std::invalid_argument("layer " + std::to_string(layer) +
                                ": the expert's shapes are not this model's");
  NotesLayer& here = draft.layers[layer];
  here.row_D.assign(row.data(), row.data() + D);
  here.network = {notes_matrix(model, gate), notes_matrix(model, up), notes_matrix(model, down)};
}

// Decisions to be written, or read ones, each of which names one of `num_experts` (or -1, none).
template <class Number>
static Number* decisions_in(const nb::object& decisions, size_t layers, size_t tokens, size_t each,
                            size_t num_experts) {
  if (decisions.is_none()) return nullptr;
  auto array = nb::cast<Array<Number, 3>>(decisions, false);
  if (array.shape(0) != layers || array.shape(1) != tokens || array.shape(2) != each)
    throw std::invalid_argument("forward: decisions must be layers x tokens x choices");
  if constexpr (std::is_const_v<Number>)
    for (size_t i = 0; i < array.size(); ++i) {
      const auto expert = static_cast<int64_t>(array.data()[i]);
      if (expert >= static_cast<int64_t>(num_experts) || expert < -1)
        throw std::invalid_argument("forward: no expert " + std::to_string(expert));
    }
  return array.data();
}

// Ctrl-C is heard by Python's main thread alone, and while that computes here it is only noted. A
// prompt on a large model may take half a minute, so it is looked for between layers; seldom enough
// that waiting for the interpreter costs nothing, and a token is over before the first time.
class Signals {
 public:
  Signals() : is_heard_(PyThread_get_thread_ident() == main_thread()) {}

  static unsigned long main_thread() {
    static const auto ident = nb::cast<unsigned long>(
        nb::module_::import_("threading").attr("main_thread")().attr("ident"));
    return ident;
  }

  void look() {
    if (!is_heard_ || Clock::now() < next_) return;
    next_ = Clock::now() + kBetween;
    nb::gil_scoped_acquire acquire;
    if (PyErr_CheckSignals()) throw nb::python_error();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kBetween{200};
  const bool is_heard_;
  Clock::time_point next_ = Clock::now() + kBetween;
};

// Everything that indexes memory is checked: a mistake above gives an error, not a crash.
static void forward_arrays(Transformer& model, Indices token_ids, Indices starts, Indices counts,
                           Indices num_pages, Indices pages, Indices num_logits,
                           Array<const uint8_t, 2> allowed_SE, Matrix2 logits_LV,
                           nb::object shares_TE, nb::object gates_TE, nb::object routes_LTK,
                           nb::object wanted_routes_LTK, nb::object open_LT2,
                           nb::object wanted_open_LT2) {
  const size_t num_spans = starts.size(), E = model.num_experts();
  if (counts.size() != num_spans || num_pages.size() != num_spans ||
      num_logits.size() != num_spans || allowed_SE.shape(0) != num_spans ||
      allowed_SE.shape(1) != E)
    throw std::invalid_argument("forward: one entry per span is needed");
  if (const std::string fault = model.fault(); !fault.empty())
    throw std::invalid_argument("forward: the model has no or no fitting " + fault);
  Batch batch;
  batch.token_ids.assign(token_ids.data(), token_ids.data() + token_ids.size());
  for (int32_t token : batch.token_ids)
    if (token < 0 || static_cast<size_t>(token) >= model.sizes().vocab_size)
      throw std::invalid_argument("forward: token " + std::to_string(token) +
                                  " is outside the vocabulary");
  for (size_t i = 0; i < pages.size(); ++i)
    if (pages.data()[i] < 0 ||
        static_cast<size_t>(pages.data()[i]) >= model.attention().num_pages())
      throw std::invalid_argument("forward: page " + std::to_string(pages.data()[i]) + " of " +
                                  std::to_string(model.attention().num_pages()));
  size_t tokens = 0, page = 0, rows = 0;
  for (size_t s = 0; s < num_spans; ++s) {
    const int64_t count = counts.data()[s], start = starts.data()[s];
    const int64_t held = num_pages.data()[s], wanted = num_logits.data()[s];
    if (count < 1 || start < 0 || held < 0 || wanted < 0 || wanted > count ||
        held * static_cast<int64_t>(kPageTokens) < start + count)
      throw std::invalid_argument("forward: span " + std::to_string(s) + " has no room");
    batch.spans.push_back({tokens, static_cast<size_t>(count), start, pages.data() + page,
                           allowed_SE.data() + s * E, static_cast<size_t>(wanted)});
    tokens += static_cast<size_t>(count);
    page += static_cast<size_t>(held);
    rows += static_cast<size_t>(wanted);
  }
  if (tokens != batch.token_ids.size() || page != pages.size() || rows != logits_LV.shape(0) ||
      logits_LV.shape(1) != model.sizes().vocab_size)
    throw std::invalid_argument("forward: spans do not add up to the batch");
  Voices voices;
  if (!shares_TE.is_none()) {
    auto shares = nb::cast<Matrix2>(shares_TE, false), gates = nb::cast<Matrix2>(gates_TE, false);
    if (shares.shape(0) != tokens || shares.shape(1) != E || gates.shape(0) != tokens ||
        gates.shape(1) != E)
      throw std::invalid_argument("forward: shares and gates must be tokens x experts");
    voices = {shares.data(), gates.data()};
  }
  Decisions decisions;
  const size_t layers = model.sizes().num_layers, K = model.sizes().num_chosen_experts;
  decisions.routes_LTK =
      decisions_in<uint32_t>(routes_LTK, layers, tokens, K, model.sizes().num_base_experts);
  decisions.wanted_routes_LTK = decisions_in<const uint32_t>(wanted_routes_LTK, layers, tokens, K,
                                                             model.sizes().num_base_experts);
  decisions.open_LT2 = decisions_in<int32_t>(open_LT2, layers, tokens, 2, E);
  decisions.wanted_open_LT2 = decisions_in<const int32_t>(wanted_open_LT2, layers, tokens, 2, E);
  Signals signals;
  nb::gil_scoped_release release;
  model.forward(batch, logits_LV.data(), voices, decisions, [&] { signals.look(); });
}

static double read_bandwidth_of(const std::string& variant, int threads, size_t num_bytes,
                                double seconds) {
  const Kernels& kernels = kernels_of(variant);
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be 1 to 1024");
  nb::gil_scoped_release release;
  return read_bandwidth(kernels, threads, num_bytes, seconds);
}

static double int8_rate_of(const std::string& variant, int threads, double seconds) {
  const Kernels& kernels = kernels_of(variant);
  if (threads < 1 || threads > 1024) throw std::invalid_argument("threads must be 1 to 1024");
  nb::gil_scoped_release release;
  return int8_rate(kernels, threads, seconds);
}

NB_MODULE(_cpu, m) {
  m.def("log_softmax", &log_softmax_arrays, "variant"_a, "x"_a.noconvert(), "y"_a.noconvert(),
        nb::kw_only(), "threads"_a = 1,
        "Writes log-probabilities of each row of x into y; float32, C-contiguous, one shape.");
  m.def("log_softmax_at", &log_softmax_at_arrays, "variant"_a, "x"_a.noconvert(),
        "ids"_a.noconvert(), "y"_a.noconvert(), nb::kw_only(), "threads"_a = 1,
        "Writes log_softmax of column ids[t] of row t of x into y[t], the same bits.");
  m.def("usable_variants", &usable_variants,
        "Returns the instruction-set variants that can run here, the best first.");
  m.def(
      "variants_here",
      [] {
        std::vector<std::pair<std::string, std::string>> found;
        for (const VariantHere& one : variants_here()) found.emplace_back(one.name, one.lacks);
        return found;
      },
      "Returns (variant, what this machine lacks of it) of this build, the best first.");
  m.def("read_bandwidth", &read_bandwidth_of, "variant"_a, "threads"_a, nb::kw_only(),
        "num_bytes"_a, "seconds"_a, "Measures bytes read per second.");
  m.def("int8_rate", &int8_rate_of, "variant"_a, "threads"_a, nb::kw_only(), "seconds"_a,
        "Measures multiplications and additions of int8 per second.");

  m.def("matmul", &matmul_arrays, "variant"_a, "type"_a, "bytes"_a.noconvert(), "x"_a.noconvert(),
        "y"_a.noconvert(), nb::kw_only(), "threads"_a = 1,
        "Writes x times the transposed matrix in `bytes` into y.");
  m.def("rms_norm", &rms_norm_arrays, "variant"_a, "x"_a.noconvert(), "scale"_a.noconvert(),
        "y"_a.noconvert(), nb::kw_only(), "eps"_a);
  m.def("swiglu", &swiglu_arrays, "variant"_a, "gate"_a.noconvert(), "up"_a.noconvert(),
        "y"_a.noconvert());
  m.def("pack", &pack_arrays, "variant"_a, "x"_a.noconvert(), "quants"_a.noconvert(),
        "scales"_a.noconvert(), "minus_8_sums"_a.noconvert(), "minus_128_sums"_a.noconvert(),
        "scaled_sums"_a.noconvert(), "floats"_a.noconvert(),
        "Writes the panel of up to eight rows.");
  m.def("quantise_to_bytes", &quantise_to_bytes_arrays, "x"_a.noconvert(), "y"_a.noconvert(),
        "Writes into y the numbers that x's blocks of int8 stand for.");
  m.def("rotate", &rotate_arrays, "variant"_a, "x"_a.noconvert(), "cos"_a.noconvert(),
        "sin"_a.noconvert(), nb::kw_only(), "halves"_a, "Turns the rows of x, heads, in place.");
  m.def("route", &route_arrays, "variant"_a, "h"_a.noconvert(), "rows"_a.noconvert(), nb::kw_only(),
        "renormalises"_a, "chosen"_a.noconvert(), "weights"_a.noconvert(),
        "Writes each row's chosen base experts (uint32) and their weights.");
  m.def("attention", &attention_arrays, "variant"_a, "kv_format"_a, "q"_a.noconvert(),
        "k"_a.noconvert(), "v"_a.noconvert(), "pages"_a.noconvert(), "ends"_a.noconvert(),
        "y"_a.noconvert(), nb::kw_only(), "window"_a, "scale"_a, "threads"_a,
        "Writes what the last positions' queries see of all positions' keys and values, which\n"
        "come in chunks that end before `ends`.");

  m.def(
      "repacked_bytes",
      [](const std::string& type, size_t rows, size_t columns) {
        return layout_of(type, rows, columns).num_bytes();
      },
      "type"_a, "rows"_a, "columns"_a, "Returns the bytes a matrix takes once it is repacked.");
  m.def("repack", &repack_arrays, "type"_a, "rows"_a, "columns"_a, "bytes"_a.noconvert(),
        "tiles"_a.noconvert(), nb::kw_only(), "threads"_a = 1,
        "Repacks rows of a GGUF or safetensors type; tiles has repacked_bytes(...).");
  nb::class_<MappedFile>(m, "MappedFile")
      .def(nb::init<int>(), "descriptor"_a, "Maps a whole file, read-only and shared.");
  nb::class_<NotesExpertDraft>(m, "NotesExpert")
      .def(nb::init<>())
      .def("put_layer", &put_notes_layer, "model"_a, "layer"_a, "row"_a.noconvert(),
           "gate"_a.noconvert(), "up"_a.noconvert(), "down"_a.noconvert());

  nb::class_<Transformer>(m, "Transformer")
      .def(
          "__init__",
          [](Transformer* self, size_t vocab_size, size_t model_width, size_t ffn_width,
             size_t num_layers, size_t num_heads, size_t num_kv_heads, size_t head_width,
             float norm_eps, bool rotates_halves, size_t num_base_experts,
             size_t num_chosen_experts, bool renormalises_route, int64_t window,
             float attention_scale, float embedding_multiplier, float residual_multiplier,
             float logits_scaling, ConstVector turns_c, const std::string& kv_format,
             const std::string& variant, int threads) {
            if (threads < 1 || threads > 1024)
              throw std::invalid_argument("threads must be 1 to 1024");
            if (num_layers == 0 || num_kv_heads == 0 || num_heads % num_kv_heads || window < 1)
              throw std::invalid_argument("sizes contradict each other");
            const Sizes sizes{vocab_size,
                              model_width,
                              ffn_width,
                              num_layers,
                              num_heads,
                              num_kv_heads,
                              head_width,
                              norm_eps,
                              rotates_halves,
                              num_base_experts,
                              num_chosen_experts,
                              renormalises_route,
                              window,
                              attention_scale,
                              embedding_multiplier,
                              residual_multiplier,
                              logits_scaling};
            new (self) Transformer(sizes, {turns_c.data(), turns_c.data() + turns_c.size()},
                                   kv_format, variant, threads);
          },
          nb::kw_only(), "vocab_size"_a, "model_width"_a, "ffn_width"_a, "num_layers"_a,
          "num_heads"_a, "num_kv_heads"_a, "head_width"_a, "norm_eps"_a, "rotates_halves"_a,
          "num_base_experts"_a, "num_chosen_experts"_a, "renormalises_route"_a, "window"_a,
          "attention_scale"_a, "embedding_multiplier"_a, "residual_multiplier"_a,
          "logits_scaling"_a, "turns_c"_a.noconvert(), "kv_format"_a, "variant"_a, "threads"_a)
      .def_prop_ro("variant", &Transformer::variant)
      .def_prop_ro("threads", &Transformer::num_threads)
      .def_prop_ro("kv_format", [](Transformer& self) { return self.attention().format_name(); })
      .def_prop_ro(
          "page_bytes", [](Transformer& self) { return self.attention().page_bytes(); },
          "Bytes of a page of 64 positions, in all layers.")
      .def("put_matrix", &put_matrix, "name"_a, "layer"_a, "expert"_a, "type"_a, "rows"_a,
           "columns"_a, "bytes"_a.noconvert(),
           "Repacks a matrix of a GGUF or safetensors type from its bytes (uint8).")
      .def("put_mapped", &put_mapped, "name"_a, "layer"_a, "expert"_a, "type"_a, "rows"_a,
           "columns"_a, "file"_a, "offset"_a,
           "Takes a matrix that was repacked from `type` where it lies in a mapped file.")
      .def("put_vector", &put_vector, "name"_a, "layer"_a, "numbers"_a.noconvert())
      .def("fault", &Transformer::fault, "Names what is missing or misshapen; empty when whole.")
      .def(
          "allocate",
          [](Transformer& self, size_t num_pages) { self.attention().allocate(num_pages); },
          "num_pages"_a)
      .def("pages", &pages_of_layer, "layer"_a,
           "A copy of a layer's pages (pages, bytes of one), as attention/pages.h lays them out.")
      .def(
          "add_expert",
          [](Transformer& self, const std::string& hash, NotesExpertDraft& draft) {
            self.add_expert(hash, std::move(draft.layers));
          },
          "hash"_a, "expert"_a)
      .def("remove_expert", &Transformer::remove_expert, "hash"_a)
      .def("forward", &forward_arrays, "token_ids"_a.noconvert(), "starts"_a.noconvert(),
           "counts"_a.noconvert(), "num_pages"_a.noconvert(), "pages"_a.noconvert(),
           "num_logits"_a.noconvert(), "allowed"_a.noconvert(), "logits"_a.noconvert(),
           "shares"_a.none(), "gates"_a.none(), nb::kw_only(), "routes"_a.none() = nb::none(),
           "wanted_routes"_a.none() = nb::none(), "open"_a.none() = nb::none(),
           "wanted_open"_a.none() = nb::none(),
           "Writes logits; and, where arrays come for them, voices and decisions (transformer.h).");
}
