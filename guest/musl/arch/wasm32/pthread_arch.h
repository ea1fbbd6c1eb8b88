/* A guest has one thread: its block is at a fixed place, which start.c sets. */
extern uintptr_t __wasm_tp;

static inline uintptr_t __get_tp(void)
{
	return __wasm_tp;
}

#define TLS_ABOVE_TP
#define GAP_ABOVE_TP 0
#define DTP_OFFSET 0
/* no saved program counter: a guest is never interrupted */
#define MC_PC __gregs[0]
