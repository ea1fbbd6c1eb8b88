/*
 * The run-time half of -wasm-enable-sjlj. A translation unit of its own: compiled together with its users, LLVM 22
 * emits invalid code.
 */
struct jump_buffer {
	void *invocation;
	unsigned label;
	struct {
		void *env;
		int value;
	} thrown;
};

void __wasm_setjmp(void *env, unsigned label, void *invocation)
{
	struct jump_buffer *buffer = env;

	buffer->invocation = invocation;
	buffer->label = label;
}

unsigned __wasm_setjmp_test(void *env, void *invocation)
{
	struct jump_buffer *buffer = env;

	return buffer->invocation == invocation ? buffer->label : 0;
}

void __wasm_longjmp(void *env, int value)
{
	struct jump_buffer *buffer = env;

	buffer->thrown.env = env;
	buffer->thrown.value = value ? value : 1;
	__builtin_wasm_throw(1, &buffer->thrown);
}
