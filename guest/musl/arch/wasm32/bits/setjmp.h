/* the invocation and label of a setjmp, and what a longjmp throws: see guest/port/setjmp_rt.c */
typedef unsigned long __jmp_buf[6];
