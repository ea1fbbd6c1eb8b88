/*
 * Changing native stacks, and jumps within one (System V AMD64 ABI, AAPCS64).
 *
 * setjmp of the C library will not do: glibc stores its pointers mangled, and a parked guest's stack is moved to other addresses when its
 * process is copied (pgl_relocate in runtime.c). These buffers are plain words.
 *
 * A stack that is switched away from holds the callee-saved registers on top, lowest address first, and then the address to continue at.
 */
#define STRING(x) STRING_(x)
#define STRING_(x) #x
#define NAME(name) STRING(__USER_LABEL_PREFIX__) #name
#ifdef __APPLE__
#define FUNCTION(name) ".private_extern " NAME(name) "\n\t.globl " NAME(name) "\n\t.p2align 4\n" NAME(name) ":\n"
#define END(name)
#else
#define FUNCTION(name) ".hidden " NAME(name) "\n\t.globl " NAME(name) "\n\t.type " NAME(name) ", %function\n\t.p2align 4\n" NAME(name) ":\n"
#define END(name) "\t.size " NAME(name) ", .-" NAME(name) "\n"
#endif

#if defined(__x86_64__)

__asm__(
	"\t.text\n"
	/* int pgl_setjmp(void **buffer): rbx rbp r12-r15, the caller's rsp and rip */
	"\t" FUNCTION(pgl_setjmp)
	"\tmovq %rbx, (%rdi)\n"
	"\tmovq %rbp, 8(%rdi)\n"
	"\tmovq %r12, 16(%rdi)\n"
	"\tmovq %r13, 24(%rdi)\n"
	"\tmovq %r14, 32(%rdi)\n"
	"\tmovq %r15, 40(%rdi)\n"
	"\tleaq 8(%rsp), %rdx\n"
	"\tmovq %rdx, 48(%rdi)\n"
	"\tmovq (%rsp), %rdx\n"
	"\tmovq %rdx, 56(%rdi)\n"
	"\txorl %eax, %eax\n"
	"\tret\n"
	END(pgl_setjmp)
	/* _Noreturn void pgl_longjmp(void **buffer, int value) */
	"\t" FUNCTION(pgl_longjmp)
	"\tmovl %esi, %eax\n"
	"\tmovq (%rdi), %rbx\n"
	"\tmovq 8(%rdi), %rbp\n"
	"\tmovq 16(%rdi), %r12\n"
	"\tmovq 24(%rdi), %r13\n"
	"\tmovq 32(%rdi), %r14\n"
	"\tmovq 40(%rdi), %r15\n"
	"\tmovq 48(%rdi), %rsp\n"
	"\tjmpq *56(%rdi)\n"
	END(pgl_longjmp)
	/* void pgl_switch(void **save, void *to) */
	"\t" FUNCTION(pgl_switch)
	"\tpushq %rbp\n"
	"\tpushq %rbx\n"
	"\tpushq %r12\n"
	"\tpushq %r13\n"
	"\tpushq %r14\n"
	"\tpushq %r15\n"
	"\tmovq %rsp, (%rdi)\n"
	"\tmovq %rsi, %rdi\n"
	END(pgl_switch)
	/* _Noreturn void pgl_jump(void *to): gives up the present stack */
	"\t" FUNCTION(pgl_jump)
	"\tmovq %rdi, %rsp\n"
	"\tpopq %r15\n"
	"\tpopq %r14\n"
	"\tpopq %r13\n"
	"\tpopq %r12\n"
	"\tpopq %rbx\n"
	"\tpopq %rbp\n"
	"\tret\n"
	END(pgl_jump)
	/* where a new stack begins: rbx is the context */
	"\t" FUNCTION(pgl_first)
	"\tmovq %rbx, %rdi\n"
	"\txorl %ebp, %ebp\n"
	"\tjmp " NAME(pgl_run) "\n"
	END(pgl_first)
);

#elif defined(__aarch64__)

__asm__(
	"\t.text\n"
	/* x19-x30, sp, d8-d15 */
	"\t" FUNCTION(pgl_setjmp)
	"\tstp x19, x20, [x0]\n"
	"\tstp x21, x22, [x0, #16]\n"
	"\tstp x23, x24, [x0, #32]\n"
	"\tstp x25, x26, [x0, #48]\n"
	"\tstp x27, x28, [x0, #64]\n"
	"\tstp x29, x30, [x0, #80]\n"
	"\tmov x2, sp\n"
	"\tstr x2, [x0, #96]\n"
	"\tstp d8, d9, [x0, #104]\n"
	"\tstp d10, d11, [x0, #120]\n"
	"\tstp d12, d13, [x0, #136]\n"
	"\tstp d14, d15, [x0, #152]\n"
	"\tmov w0, #0\n"
	"\tret\n"
	END(pgl_setjmp)
	"\t" FUNCTION(pgl_longjmp)
	"\tldp x19, x20, [x0]\n"
	"\tldp x21, x22, [x0, #16]\n"
	"\tldp x23, x24, [x0, #32]\n"
	"\tldp x25, x26, [x0, #48]\n"
	"\tldp x27, x28, [x0, #64]\n"
	"\tldp x29, x30, [x0, #80]\n"
	"\tldr x2, [x0, #96]\n"
	"\tmov sp, x2\n"
	"\tldp d8, d9, [x0, #104]\n"
	"\tldp d10, d11, [x0, #120]\n"
	"\tldp d12, d13, [x0, #136]\n"
	"\tldp d14, d15, [x0, #152]\n"
	"\tmov w0, w1\n"
	"\tret\n"
	END(pgl_longjmp)
	"\t" FUNCTION(pgl_switch)
	"\tsub sp, sp, #160\n"
	"\tstp x19, x20, [sp]\n"
	"\tstp x21, x22, [sp, #16]\n"
	"\tstp x23, x24, [sp, #32]\n"
	"\tstp x25, x26, [sp, #48]\n"
	"\tstp x27, x28, [sp, #64]\n"
	"\tstp x29, x30, [sp, #80]\n"
	"\tstp d8, d9, [sp, #96]\n"
	"\tstp d10, d11, [sp, #112]\n"
	"\tstp d12, d13, [sp, #128]\n"
	"\tstp d14, d15, [sp, #144]\n"
	"\tmov x2, sp\n"
	"\tstr x2, [x0]\n"
	"\tmov x0, x1\n"
	END(pgl_switch)
	"\t" FUNCTION(pgl_jump)
	"\tmov sp, x0\n"
	"\tldp x19, x20, [sp]\n"
	"\tldp x21, x22, [sp, #16]\n"
	"\tldp x23, x24, [sp, #32]\n"
	"\tldp x25, x26, [sp, #48]\n"
	"\tldp x27, x28, [sp, #64]\n"
	"\tldp x29, x30, [sp, #80]\n"
	"\tldp d8, d9, [sp, #96]\n"
	"\tldp d10, d11, [sp, #112]\n"
	"\tldp d12, d13, [sp, #128]\n"
	"\tldp d14, d15, [sp, #144]\n"
	"\tadd sp, sp, #160\n"
	"\tret\n"
	END(pgl_jump)
	/* x19 is the context */
	"\t" FUNCTION(pgl_first)
	"\tmov x0, x19\n"
	"\tmov x29, #0\n"
	"\tmov x30, #0\n"
	"\tb " NAME(pgl_run) "\n"
	END(pgl_first)
);

#else
#error "no stack switch for this architecture yet"
#endif
