/*
 * What PostgreSQL calls when it has loaded a module with C++ in it: first the static constructors, then the module's own part, which is compiled under another name.
 */
void __wasm_call_ctors(void);

__attribute__((weak)) void guest_cxx_module_init(void)
{
}

__attribute__((visibility("default"))) void _PG_init(void);

void _PG_init(void)
{
	__wasm_call_ctors();
	guest_cxx_module_init();
}
