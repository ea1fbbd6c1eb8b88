/*
 * What of C++'s run-time library ICU refers to. It allocates with its own functions, mostly (UMemory); exceptions and type information are off.
 */
#include <cstddef>
#include <cstdlib>
#include <new>
#include <typeinfo>

void *operator new(std::size_t size) noexcept(false) { return std::malloc(size ? size : 1); }
void *operator new[](std::size_t size) noexcept(false) { return std::malloc(size ? size : 1); }
void operator delete(void *pointer) noexcept { std::free(pointer); }
void operator delete[](void *pointer) noexcept { std::free(pointer); }
void operator delete(void *pointer, std::size_t) noexcept { std::free(pointer); }
void operator delete[](void *pointer, std::size_t) noexcept { std::free(pointer); }

/* Types are constants. Defined here, it is where the class's own table is made. */
std::type_info::~type_info() {}

extern "C" {

void __cxa_pure_virtual(void) { __builtin_trap(); }

/* Nothing is destroyed at exit: a process's memory goes with it. */
int __cxa_atexit(void (*)(void *), void *, void *) { return 0; }
void *__dso_handle;

}
