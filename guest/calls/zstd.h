/* The functions of Zstandard that the server calls, for WAL and base backups (calls.h). */
#include <zstd.h>

#define CALLS \
	CALL(size_t, ZSTD_CCtx_reset, (ZSTD_CCtx *context, ZSTD_ResetDirective what), (context, what)) \
	CALL(size_t, ZSTD_CCtx_setParameter, (ZSTD_CCtx *context, ZSTD_cParameter parameter, int value), (context, parameter, value)) \
	CALL(size_t, ZSTD_compress, (void *to, size_t size, const void *from, size_t length, int level), (to, size, from, length, level)) \
	CALL(size_t, ZSTD_compressBound, (size_t length), (length)) \
	CALL(size_t, ZSTD_compressStream2, (ZSTD_CCtx *context, ZSTD_outBuffer *to, ZSTD_inBuffer *from, ZSTD_EndDirective end), (context, to, from, end)) \
	CALL(ZSTD_CCtx *, ZSTD_createCCtx, (void), ()) \
	CALL(size_t, ZSTD_decompress, (void *to, size_t size, const void *from, size_t length), (to, size, from, length)) \
	CALL(size_t, ZSTD_freeCCtx, (ZSTD_CCtx *context), (context)) \
	CALL(const char *, ZSTD_getErrorName, (size_t code), (code)) \
	CALL(unsigned, ZSTD_isError, (size_t code), (code)) \
	CALL(int, ZSTD_maxCLevel, (void), ()) \
	CALL(int, ZSTD_minCLevel, (void), ())
