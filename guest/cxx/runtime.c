/*
 * What of C++'s run-time library the compiler's package expects of a C library.
 */

/* Nothing is destroyed at exit: a process's memory goes with it. */
int __cxa_atexit(void (*destroy)(void *), void *object, void *library)
{
	(void)destroy;
	(void)object;
	(void)library;
	return 0;
}

int __cxa_thread_atexit(void (*destroy)(void *), void *object, void *library)
{
	return __cxa_atexit(destroy, object, library);
}

void *__dso_handle;
