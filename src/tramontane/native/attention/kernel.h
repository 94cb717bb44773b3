// y = Σ_s p_s · v_s, p = softmax_s(scale · q · k_s), page by page; powers are of two, scores
// multiplied by log2(e) once with the scale.
#include "attention/attention.h"
#include "lanes.h"

namespace TRAMONTANE_VARIANT {
namespace {

constexpr size_t kPageLanes = kPageTokens / kLanes;
constexpr float kLog2E = 1.44269504f;
constexpr float kNothing = -__builtin_inff();
// Coordinates of a query that lie together.
constexpr size_t kStretch = 64;
// Sixteens of positions or coordinates whose sums for six queries stay in registers.
#if defined(__AVX512F__)
constexpr size_t kTileLanes = 4;
#else
constexpr size_t kTileLanes = 1;
#endif

template <KVFormat format>
TRAMONTANE_INLINE Floats numbers_at(const uint8_t* numbers, size_t at) {
  if constexpr (format == KVFormat::int8)
    return from_signed_bytes(reinterpret_cast<const int8_t*>(numbers) + at);
  else
    return from_half(reinterpret_cast<const uint16_t*>(numbers) + at);
}

// scores[r][s] = Σ_d q[r][d] · k[d][s] for `lanes` sixteens of positions from `first` on.
template <KVFormat format, size_t n, size_t lanes>
void score_tile(const float* q, const uint8_t* keys, size_t d, size_t first,
                float (*scores)[kPageTokens]) {
  Floats sums[n][lanes];
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) sums[r][i] = all(0.0f);
  }
  for (size_t start = 0; start < d; start += kStretch, q += n * kStretch) {
    const size_t count = d - start < kStretch ? d - start : kStretch;
    for (size_t at = 0; at < count; ++at) {
      Floats k[lanes];
      TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) k[i] =
          numbers_at<format>(keys, (start + at) * kPageTokens + first + i * kLanes);
      TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
        const Floats q_r = all(q[r * kStretch + at]);
        TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) sums[r][i] =
            fma(k[i], q_r, sums[r][i]);
      }
    }
  }
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i)
        store(scores[r] + first + i * kLanes, sums[r][i]);
  }
}

template <KVFormat format, size_t n>
void score(const float* q, const uint8_t* keys, size_t d, size_t first, size_t end,
           float (*scores)[kPageTokens]) {
  for (; first + kTileLanes * kLanes <= end; first += kTileLanes * kLanes)
    score_tile<format, n, kTileLanes>(q, keys, d, first, scores);
  for (; first < end; first += kLanes) score_tile<format, n, 1>(q, keys, d, first, scores);
}

// mixed[r] = mixed[r] · rescale[r] + Σ_s p[r][s] · v[s], for `lanes` sixteens of coordinates.
template <KVFormat format, size_t n, size_t lanes>
void mix_tile(const uint8_t* values, size_t width, size_t column, size_t first, size_t end,
              const float (*p)[kPageTokens], const float* rescale, float* mixed, size_t apart) {
  Floats y[n][lanes];
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) y[r][i] =
        mul(load(mixed + r * apart + column + i * kLanes), all(rescale[r]));
  }
  for (size_t s = first; s < end; ++s) {
    Floats v[lanes];
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) v[i] =
        numbers_at<format>(values, s * width + column + i * kLanes);
    TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
      const Floats weight = all(p[r][s]);
      TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i) y[r][i] = fma(v[i], weight, y[r][i]);
    }
  }
  TRAMONTANE_UNROLL for (size_t r = 0; r < n; ++r) {
    TRAMONTANE_UNROLL for (size_t i = 0; i < lanes; ++i)
        store(mixed + r * apart + column + i * kLanes, y[r][i]);
  }
}

template <KVFormat format, size_t n>
void mix(const uint8_t* values, size_t width, size_t first, size_t end,
         const float (*p)[kPageTokens], const float* rescale, float* mixed, size_t apart) {
  size_t column = 0;
  for (; column + kTileLanes * kLanes <= width; column += kTileLanes * kLanes)
    mix_tile<format, n, kTileLanes>(values, width, column, first, end, p, rescale, mixed, apart);
  for (; column < width; column += kLanes)
    mix_tile<format, n, 1>(values, width, column, first, end, p, rescale, mixed, apart);
}

// A part: `width` coordinates, then these two.
TRAMONTANE_INLINE float& most_of(float* part, size_t width) { return part[width]; }
TRAMONTANE_INLINE float& total_of(float* part, size_t width) { return part[width + 1]; }

TRAMONTANE_INLINE float power_of_two_of(float x) {
  float lanes[kLanes];
  store(lanes, power_of_two(all(x)));
  return lanes[0];
}

// into = into and part as one.
void add_part(float* into, const float* part, size_t width) {
  const float most = part[width];
  if (most == kNothing) return;
  if (most_of(into, width) == kNothing) {
    memcpy(into, part, (width + kLanes) * sizeof(float));
    return;
  }
  const float reach = most > most_of(into, width) ? most : most_of(into, width);
  const float old = power_of_two_of(most_of(into, width) - reach);
  const float added = power_of_two_of(most - reach);
  for (size_t at = 0; at < width; at += kLanes)
    store(into + at, fma(load(part + at), all(added), mul(load(into + at), all(old))));
  total_of(into, width) = total_of(into, width) * old + part[width + 1] * added;
  most_of(into, width) = reach;
}

// The positions of a page that a query sees, and what scores become where it sees none.
struct Seen {
  int first, end;
};

Seen seen_of(const QueryGroup& group, size_t r, int64_t page) {
  constexpr int64_t page_tokens = kPageTokens;
  const int64_t first = group.position[r] - group.window + 1 - page * page_tokens;
  const int64_t end = group.position[r] + 1 - page * page_tokens;
  return {static_cast<int>(first < 0             ? 0
                           : first > page_tokens ? page_tokens
                                                 : first),
          static_cast<int>(end < 0             ? 0
                           : end > page_tokens ? page_tokens
                                               : end)};
}

// The powers of a row's scores, in place of them, and their sum; values' scales go to the powers.
template <KVFormat format>
void weigh(float* scores, Seen seen, size_t first, size_t end, const uint16_t* key_scales,
           const uint16_t* value_scales, float* most, Floats* total, float* rescale) {
  Floats s[kPageLanes], highest = all(kNothing);
  for (size_t i = first / kLanes; i < end / kLanes; ++i) {
    const int offset = static_cast<int>(i * kLanes);
    s[i] = load(scores + offset);
    if constexpr (format == KVFormat::int8) s[i] = mul(s[i], from_half(key_scales + offset));
    if (seen.first > offset || seen.end < offset + static_cast<int>(kLanes))
      s[i] = within(s[i], seen.first - offset, seen.end - offset, kNothing);
    highest = larger(highest, s[i]);
  }
  const float now = largest_of(highest);
  if (now > *most) {
    *rescale = power_of_two_of(*most - now);
    *most = now;
    *total = mul(*total, all(*rescale));
  }
  for (size_t i = first / kLanes; i < end / kLanes; ++i) {
    const Floats p = power_of_two(sub(s[i], all(*most)));
    *total = add(*total, p);
    if constexpr (format == KVFormat::int8)
      store(scores + i * kLanes, mul(p, from_half(value_scales + i * kLanes)));
    else
      store(scores + i * kLanes, p);
  }
}

// One segment's pages into parts that were empty.
template <KVFormat format, size_t n>
void attend_segment(const QueryGroup& group, const PageLayout& layout, int64_t first_page,
                    int64_t end_page, const float* q, float* parts) {
  const size_t width = layout.padded_width(), apart = part_floats(layout);
  float most[n], rescale[n], scores[n][kPageTokens];
  Floats total[n];
  for (size_t r = 0; r < n; ++r) {
    for (size_t at = 0; at < width; at += kLanes) store(parts + r * apart + at, all(0.0f));
    most[r] = kNothing;
    total[r] = all(0.0f);
  }
  for (int64_t page = first_page; page < end_page; ++page) {
    const uint8_t* keys =
        group.layer + group.pages[page] * layout.page_bytes() + group.kv_head * layout.head_bytes();
    const uint8_t* values = keys + layout.key_bytes();
    const auto* key_scales = reinterpret_cast<const uint16_t*>(values + layout.value_bytes());
    Seen seen[n];
    int first_seen = kPageTokens, end_seen = 0;
    for (size_t r = 0; r < n; ++r) {
      seen[r] = seen_of(group, r, page);
      if (seen[r].first >= seen[r].end) continue;
      first_seen = first_seen < seen[r].first ? first_seen : seen[r].first;
      end_seen = end_seen > seen[r].end ? end_seen : seen[r].end;
    }
    if (first_seen >= end_seen) continue;
    // Whole sixteens of positions.
    const size_t first = first_seen / kLanes * kLanes;
    const size_t end = (end_seen + kLanes - 1) / kLanes * kLanes;
    score<format, n>(q, keys, layout.head_width, first, end, scores);
    for (size_t r = 0; r < n; ++r) {
      rescale[r] = 1.0f;
      if (seen[r].first >= seen[r].end)
        for (size_t i = first; i < end; i += kLanes) store(scores[r] + i, all(0.0f));
      else
        weigh<format>(scores[r], seen[r], first, end, key_scales, key_scales + kPageTokens,
                      &most[r], &total[r], &rescale[r]);
    }
    mix<format, n>(values, width, first_seen, end_seen, scores, rescale, parts, apart);
  }
  for (size_t r = 0; r < n; ++r) {
    most_of(parts + r * apart, width) = most[r];
    total_of(parts + r * apart, width) = sum_of(total[r]);
  }
}

template <KVFormat format, size_t n>
void attend_group(const QueryGroup& group, const PageLayout& layout, size_t first_segment,
                  size_t end_segment, float* scratch, float* parts) {
  const size_t d = layout.head_width, width = layout.padded_width(), apart = part_floats(layout);
  float* q = scratch;
  const float scale = group.scale * kLog2E;
  for (size_t start = 0; start < d; start += kStretch)
    for (size_t r = 0; r < n; ++r)
      for (size_t at = 0; at < kStretch && start + at < d; at += kLanes)
        store(q + (start * n + r * kStretch + at),
              mul(load_some(group.query_d[r] + start + at, d - start - at), all(scale)));
  float* segment_parts = scratch + n * ((d + kStretch - 1) / kStretch * kStretch);
  constexpr int64_t page_tokens = kPageTokens, segment_pages = kSegmentTokens / kPageTokens;
  const int64_t first_page = group.first_seen() / page_tokens;
  const int64_t end_page = group.last_seen() / page_tokens + 1;
  for (size_t segment = first_segment; segment < end_segment; ++segment) {
    const int64_t begin = static_cast<int64_t>(segment) * segment_pages;
    const int64_t from = begin > first_page ? begin : first_page;
    const int64_t to = begin + segment_pages < end_page ? begin + segment_pages : end_page;
    const bool is_first = segment == first_segment;
    attend_segment<format, n>(group, layout, from, to, q, is_first ? parts : segment_parts);
    if (!is_first)
      for (size_t r = 0; r < n; ++r) add_part(parts + r * apart, segment_parts + r * apart, width);
  }
}

template <KVFormat format>
void attend_in(const QueryGroup& group, const PageLayout& layout, size_t first_segment,
               size_t end_segment, float* scratch, float* parts) {
  constexpr decltype(&attend_in<format>) by_count[kQueriesPerGroup] = {
      attend_group<format, 1>, attend_group<format, 2>, attend_group<format, 3>,
      attend_group<format, 4>, attend_group<format, 5>, attend_group<format, 6>};
  by_count[group.count - 1](group, layout, first_segment, end_segment, scratch, parts);
}

// A row's scale as its page keeps it, and what its numbers are multiplied by to become bytes.
struct ByteScale {
  uint16_t half;
  float inverse;
};

ByteScale byte_scale_of(const float* x_d, size_t d) {
  Floats most = all(0.0f);
  for (size_t at = 0; at < d; at += kLanes)
    most = larger(most, magnitude(load_some(x_d + at, d - at)));
  uint16_t halves[kLanes];
  store_halves(halves, all(largest_of(most) / 127.0f));
  float scale[kLanes];
  store(scale, from_half(halves));
  return {halves[0], scale[0] > 0.0f ? 1.0f / scale[0] : 0.0f};
}

// Sixteen numbers of a row as the page keeps them.
template <KVFormat format, class Number>
TRAMONTANE_INLINE void round_sixteen(const float* x, size_t count, float inverse, Number* y) {
  if constexpr (format == KVFormat::int8) {
    const Floats scaled = mul(load_some(x, count), all(inverse));
    store_signed_bytes(y, to_ints(larger(all(-127.0f), smaller(all(127.0f), scaled))));
  } else {
    store_halves(y, load_some(x, count));
  }
}

// Up to sixteen tokens at a time: coordinates of keys lie far from each other in a page, slots
// don't.
template <KVFormat format, class Number>
void keep_in(const KeptRows& rows, const PageLayout& layout) {
  const size_t d = layout.head_width, width = layout.padded_width();
  uint8_t* head = rows.page + rows.kv_head * layout.head_bytes();
  auto* keys = reinterpret_cast<Number*>(head);
  auto* values = reinterpret_cast<Number*>(head + layout.key_bytes());
  auto* scales = reinterpret_cast<uint16_t*>(head + layout.key_bytes() + layout.value_bytes());
  for (size_t begin = 0; begin < rows.count; begin += kLanes) {
    const size_t n = rows.count - begin < kLanes ? rows.count - begin : kLanes;
    const size_t slot = rows.first_slot + begin;
    const float* key_rows = rows.keys + begin * rows.stride;
    const float* value_rows = rows.values + begin * rows.stride;
    float key_inverse[kLanes] = {}, value_inverse[kLanes] = {};
    if constexpr (format == KVFormat::int8)
      for (size_t t = 0; t < n; ++t) {
        const ByteScale key = byte_scale_of(key_rows + t * rows.stride, d);
        const ByteScale value = byte_scale_of(value_rows + t * rows.stride, d);
        scales[slot + t] = key.half;
        scales[kPageTokens + slot + t] = value.half;
        key_inverse[t] = key.inverse;
        value_inverse[t] = value.inverse;
      }
    for (size_t at = 0; at < d; at += kLanes) {
      Number rounded[kLanes][kLanes];
      for (size_t t = 0; t < n; ++t) {
        round_sixteen<format>(key_rows + t * rows.stride + at, d - at, key_inverse[t], rounded[t]);
        round_sixteen<format>(value_rows + t * rows.stride + at, d - at, value_inverse[t],
                              values + (slot + t) * width + at);
      }
      for (size_t i = 0; i < kLanes && at + i < d; ++i)
        for (size_t t = 0; t < n; ++t) keys[(at + i) * kPageTokens + slot + t] = rounded[t][i];
    }
  }
}

}  // namespace

void attend(const QueryGroup& group, const PageLayout& layout, size_t first_segment,
            size_t end_segment, float* scratch, float* parts) {
  if (layout.format == KVFormat::int8)
    attend_in<KVFormat::int8>(group, layout, first_segment, end_segment, scratch, parts);
  else
    attend_in<KVFormat::float16>(group, layout, first_segment, end_segment, scratch, parts);
}

void join(float* parts, size_t num_parts, size_t apart, size_t head_width, float* y_d) {
  const size_t width = (head_width + kLanes - 1) / kLanes * kLanes;
  for (size_t part = 1; part < num_parts; ++part) add_part(parts, parts + part * apart, width);
  const Floats inverse = all(1.0f / total_of(parts, width));
  for (size_t at = 0; at < head_width; at += kLanes)
    store_some(y_d + at, mul(load(parts + at), inverse), head_width - at);
}

void keep(const KeptRows& rows, const PageLayout& layout) {
  if (layout.format == KVFormat::int8)
    keep_in<KVFormat::int8, int8_t>(rows, layout);
  else
    keep_in<KVFormat::float16, uint16_t>(rows, layout);
}

}  // namespace TRAMONTANE_VARIANT
