# The tag of C++'s exceptions. Position-independent objects only refer to it; this module's are nobody else's.
	.tagtype	__cpp_exception i32
	.globl	__cpp_exception
	.hidden	__cpp_exception
__cpp_exception:
