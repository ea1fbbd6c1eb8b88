/*
 * pgvector's distances of single-precision vectors, on the host's processor: wasm has vectors of four numbers and no fused multiply-add, where pgvector itself chooses functions for wider ones when it
 * runs (target_clones). Linked into its side module, called as the imports of the module "native" (0002-native-distances.patch).
 *
 * What is read lies in the guest's memory: `floats` sees to it. Nothing is written.
 */
#include "rt.h"
#include <math.h>

struct w2c_native;

/* of the guest, which aligns as it likes */
typedef float unaligned __attribute__((aligned(1), may_alias));

#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2,fma")))
#endif

static const unaligned *floats(struct w2c_native *instance, uint32_t address, uint32_t count)
{
	if ((uint64_t)address + (uint64_t)count * sizeof(float) > PGL_MEMORY_SIZE)
		wasm_rt_trap(WASM_RT_TRAP_OOB);
	return (const unaligned *)(PGL_BASE(instance) + address);
}

struct sums {
	float ab, aa, bb;
};

/* Each is compiled for any processor and for wide ones, and chosen when it is called. */
#define BODY_L2(a, b)              \
	float sum = 0;                 \
	for (uint32_t i = 0; i < n; i++) { \
		float difference = a[i] - b[i]; \
		sum += difference * difference; \
	}                              \
	return sum;
#define BODY_L1(a, b)              \
	float sum = 0;                 \
	for (uint32_t i = 0; i < n; i++) \
		sum += fabsf(a[i] - b[i]); \
	return sum;
#define BODY_INNER(a, b)           \
	float sum = 0;                 \
	for (uint32_t i = 0; i < n; i++) \
		sum += a[i] * b[i];        \
	return sum;
#define BODY_SUMS(a, b)            \
	float ab = 0, aa = 0, bb = 0;  \
	for (uint32_t i = 0; i < n; i++) { \
		ab += a[i] * b[i];         \
		aa += a[i] * a[i];         \
		bb += b[i] * b[i];         \
	}                              \
	return (struct sums){ab, aa, bb};

#define PARAMETERS uint32_t n, const unaligned *a, const unaligned *b
#ifdef WIDE
#define DEFINE(type, name, body) \
	static type name##_any(PARAMETERS) { body(a, b) } \
	WIDE static type name##_wide(PARAMETERS) { body(a, b) } \
	static type name(PARAMETERS) { return pgl_cpu_has(PGL_CPU_AVX2_FMA) ? name##_wide(n, a, b) : name##_any(n, a, b); }
#else
#define DEFINE(type, name, body) \
	static type name(PARAMETERS) { body(a, b) }
#endif

DEFINE(float, l2, BODY_L2)
DEFINE(float, l1, BODY_L1)
DEFINE(float, inner, BODY_INNER)
DEFINE(struct sums, sums, BODY_SUMS)

/* a dimension below one is no vector's */
#define COUNT(dim) ((int32_t)(dim) > 0 ? (dim) : 0)
#define CALL(function) function(COUNT(dim), floats(instance, a, COUNT(dim)), floats(instance, b, COUNT(dim)))

float w2c_native_vector_l2_squared(struct w2c_native *instance, uint32_t dim, uint32_t a, uint32_t b)
{
	return CALL(l2);
}

float w2c_native_vector_l1(struct w2c_native *instance, uint32_t dim, uint32_t a, uint32_t b)
{
	return CALL(l1);
}

float w2c_native_vector_inner_product(struct w2c_native *instance, uint32_t dim, uint32_t a, uint32_t b)
{
	return CALL(inner);
}

double w2c_native_vector_cosine(struct w2c_native *instance, uint32_t dim, uint32_t a, uint32_t b)
{
	struct sums all = CALL(sums);

	return (double)all.ab / __builtin_sqrt((double)all.aa * (double)all.bb);
}
