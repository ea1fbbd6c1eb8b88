/* musl builds all its atomic operations on compare-and-swap; wasm's atomics are sequentially consistent. */
#define a_cas a_cas
static inline int a_cas(volatile int *p, int expected, int desired)
{
	return __sync_val_compare_and_swap(p, expected, desired);
}

#define a_swap a_swap
static inline int a_swap(volatile int *p, int value)
{
	return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);
}

#define a_fetch_add a_fetch_add
static inline int a_fetch_add(volatile int *p, int value)
{
	return __sync_fetch_and_add(p, value);
}

#define a_barrier a_barrier
static inline void a_barrier(void)
{
	__sync_synchronize();
}

#define a_crash a_crash
static inline void a_crash(void)
{
	__builtin_trap();
}

#define a_ctz_32 a_ctz_32
static inline int a_ctz_32(unsigned x)
{
	return __builtin_ctz(x);
}

#define a_ctz_64 a_ctz_64
static inline int a_ctz_64(unsigned long long x)
{
	return __builtin_ctzll(x);
}

#define a_clz_64 a_clz_64
static inline int a_clz_64(unsigned long long x)
{
	return __builtin_clzll(x);
}
