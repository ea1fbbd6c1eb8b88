/*
 * Conformance programs: what the kernel and the machine promise, tried from inside a guest.
 * guest_tests NAME runs one; it prints "ok" and exits 0, or says what was wrong and exits 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sched.h>
#include <pglite_guest.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("%s:%d: %s (errno %d)\n", __func__, __LINE__, #condition, errno); \
			exit(1); \
		} \
	} while (0)

static int exit_code(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* fork_entry: the child sees the parent's memory as it was, and its writes stay its own */
static int value = 1;

static void forked(void *argument)
{
	int *on_stack = argument;

	_exit(value == 2 && *on_stack == 7 && (value = 9) ? 42 : 1);
}

static void test_fork(void)
{
	int local = 7;

	value = 2;
	/* A parent that had waited for its last child and waited again slept forever, about once in a hundred times: the child counted as "ending" for a moment
	   longer, and nobody woke the parent after that. PostgreSQL's shutdown could hang so. */
	for (int i = 0; i < 500; i++) {
		pid_t pid = fork_entry(forked, &local);

		CHECK(pid > 0);
		CHECK(exit_code(pid) == 42);
		errno = 0;
		CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	}
	CHECK(value == 2);
}

static void wild_write(void *argument)
{
	*(volatile int *)(uintptr_t)8 = 1;
	_exit(0);
}

/* memory that an ended process has left is what it was when the next one begins: data, zeros, heap, mappings; and what the parent has changed meanwhile */
enum { WORDS = 1 << 16, SOME = 1 << 14, MUCH = 4 << 20 };
static int zeros[WORDS];
static int data[SOME] = {[0] = 3, [SOME / 2] = 4, [SOME - 1] = 5};
static int round_number;

static void one_after_the_other(void *argument)
{
	static int *last;
	int mapped = MAP_PRIVATE | MAP_ANONYMOUS, access = PROT_READ | PROT_WRITE;
	int *fresh = mmap(NULL, sizeof zeros, access, mapped, -1, 0);
	int *shared = mmap(NULL, sizeof data, access, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* musl's sbrk only tells where the heap ends. */
	int *heap = sbrk(0);
	intptr_t grown = syscall(SYS_brk, (char *)heap + sizeof data);
	int wrong = fresh == MAP_FAILED || shared == MAP_FAILED || grown != (intptr_t)heap + sizeof data || last != NULL || *(int *)argument != round_number;

	for (int i = 0; i < WORDS; i++) {
		wrong += zeros[i] != (i == 9 ? round_number : 0) || fresh[i] != 0;
		zeros[i] = fresh[i] = -1;
	}
	for (int i = 0; i < SOME; i++) {
		wrong += data[i] != (i == 0 ? 3 : i == SOME / 2 ? 4 : i == SOME - 1 ? 5 : 0) || shared[i] != 0 || heap[i] != 0;
		data[i] = shared[i] = heap[i] = -1;
	}
	/* More than is kept. */
	if (round_number % 7 == 0)
		memset(mmap(NULL, MUCH, access, mapped, -1, 0), 1, MUCH);
	/* Something is unmapped, for a segment to be where it was, and the rest left to the exit. */
	munmap(fresh, sizeof data);
	if (round_number % 3 == 0)
		mmap(fresh, sizeof data, access, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	last = fresh;
	if (wrong == 0 && round_number % 5 == 0)
		wild_write(NULL);
	_exit(wrong != 0);
}

static void test_again(void)
{
	int argument;

	for (round_number = 1; round_number < 100; round_number++) {
		argument = zeros[9] = round_number;
		pid_t one = fork_entry(one_after_the_other, &argument);
		pid_t two = round_number % 2 == 0 ? fork_entry(one_after_the_other, &argument) : 0;
		int code = round_number % 5 == 0 ? 256 + SIGSEGV : 0;

		CHECK(exit_code(one) == code);
		CHECK(two == 0 || exit_code(two) == code);
	}
}

/* pipes between processes, end of file, SIGPIPE's error */
static int ends[2];

static void pipe_writer(void *argument)
{
	close(ends[0]);
	for (int i = 0; i < 100000; i++)
		if (write(ends[1], &i, sizeof i) != sizeof i)
			_exit(1);
	_exit(0);
}

static void test_pipe(void)
{
	int got, next = 0;
	pid_t pid;
	ssize_t n;

	CHECK(pipe(ends) == 0);
	pid = fork_entry(pipe_writer, NULL);
	CHECK(pid > 0);
	close(ends[1]);
	while ((n = read(ends[0], &got, sizeof got)) == sizeof got)
		CHECK(got == next++);
	CHECK(n == 0 && next == 100000);
	CHECK(exit_code(pid) == 0);
}

/* handlers run, masks hold, EINTR and SA_RESTART, alarms, a jump out of a handler */
static volatile sig_atomic_t caught;
static sigjmp_buf away;

static void count_signal(int signo)
{
	caught++;
}

static void jump_away(int signo)
{
	siglongjmp(away, 5);
}

static void test_signal(void)
{
	struct sigaction action = {.sa_handler = count_signal};
	struct itimerval timer = {{0, 0}, {0, 20000}};
	sigset_t set, old;
	char byte;

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0 && caught == 1);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0);
	CHECK(kill(getpid(), SIGUSR1) == 0 && caught == 1);
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
	getpid();
	CHECK(caught == 2);
	CHECK(pipe(ends) == 0);
	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
	CHECK(read(ends[0], &byte, 1) == -1 && errno == EINTR && caught == 3);
	/* a loop that makes no calls sees the word */
	CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
	while (!GUEST_SIGNAL_PENDING())
		;
	guest_deliver_signals();
	CHECK(caught == 4);
	action.sa_handler = jump_away;
	CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
	for (int i = 0; i < 3; i++) {
		if (sigsetjmp(away, 1) == 0) {
			raise(SIGUSR2);
			CHECK(!"the handler jumps");
		}
		sigprocmask(SIG_SETMASK, NULL, &set);
		CHECK(!sigismember(&set, SIGUSR2));
	}
}

/* longjmp over many frames, with locals kept */
static jmp_buf there;

static int deep(int n)
{
	if (n == 0)
		longjmp(there, 77);
	return deep(n - 1) + n;
}

static void test_setjmp(void)
{
	volatile int rounds = 0;

	for (int i = 0; i < 1000; i++) {
		int code = setjmp(there);

		if (code == 0)
			deep(i % 50);
		CHECK(code == 77);
		rounds++;
	}
	CHECK(rounds == 1000);
}

/* sockets and epoll */
static void test_epoll(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789abcdefULL}, got[4];
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	CHECK(epoll >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
	CHECK(epoll_wait(epoll, got, 4, 10) == 0);
	CHECK(write(ends[1], "x", 1) == 1);
	CHECK(epoll_wait(epoll, got, 4, -1) == 1 && got[0].events == EPOLLIN && got[0].data.u64 == event.data.u64);
	close(ends[1]);
	CHECK(epoll_wait(epoll, got, 4, -1) == 1 && got[0].events & EPOLLHUP);
}

/*
 * The latch: one process sets a flag and then looks whether the other waits; the other says that it waits and then looks at the flag. Without full barriers both may
 * miss each other (Dekker's pattern), and a wake-up would be lost. Compiled twice, C to wasm and wasm to native, the fences must still be there.
 */
enum { ROUNDS = 100000 };

struct litmus {
	volatile uint32_t x, y, seen[2];
	volatile uint32_t arrived, left;
};

static struct litmus *litmus;

static void meet(volatile uint32_t *counter, uint32_t target)
{
	uint32_t spins = 0;

	__atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < target)
		if (++spins % 20000 == 0)
			sched_yield();
}

static void litmus_side(int side)
{
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		meet(&litmus->arrived, 2 * round);
		if (side == 0) {
			litmus->x = round;
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			litmus->seen[0] = litmus->y == round;
		} else {
			litmus->y = round;
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			litmus->seen[1] = litmus->x == round;
		}
		meet(&litmus->left, 2 * round);
		if (side == 0 && !litmus->seen[0] && !litmus->seen[1]) {
			printf("round %u: both sides missed each other\n", round);
			exit(1);
		}
	}
}

static void litmus_child(void *argument)
{
	litmus_side(1);
	_exit(0);
}

static void test_litmus(void)
{
	pid_t pid;

	litmus = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(litmus != MAP_FAILED);
	pid = fork_entry(litmus_child, NULL);
	CHECK(pid > 0);
	litmus_side(0);
	CHECK(exit_code(pid) == 0);
}

/* faults end the process that made them, as signals */
static volatile int zero;

static void divide(void *argument)
{
	zero = 7 / zero;
	_exit(0);
}

static void trap(void *argument)
{
	__builtin_trap();
}

static int endless(volatile int *n)
{
	volatile char frame[256];

	frame[0] = (char)++*n;
	return endless(n) + frame[0];
}

static void recurse(void *argument)
{
	volatile int n = 0;

	_exit(endless(&n) & 1);
}

static void call_wrong(void *argument)
{
	((long long (*)(double))(uintptr_t)0x7ffffff)(1.0);
	_exit(0);
}

static void test_faults(void)
{
	CHECK(exit_code(fork_entry(wild_write, NULL)) == 256 + SIGSEGV);
	CHECK(exit_code(fork_entry(divide, NULL)) == 256 + SIGFPE);
	CHECK(exit_code(fork_entry(trap, NULL)) > 256);
	CHECK(exit_code(fork_entry(recurse, NULL)) == 256 + SIGSEGV);
	CHECK(exit_code(fork_entry(call_wrong, NULL)) > 256);
}

/* a process that never calls the kernel can be killed */
static void spin(void *argument)
{
	for (;;)
		zero = zero + 1;
}

static void test_kill(void)
{
	pid_t pid = fork_entry(spin, NULL);

	CHECK(pid > 0);
	usleep(20000);
	CHECK(kill(pid, SIGKILL) == 0);
	CHECK(exit_code(pid) == 256 + SIGKILL);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{"fork", test_fork}, {"again", test_again}, {"pipe", test_pipe}, {"signal", test_signal}, {"setjmp", test_setjmp}, {"epoll", test_epoll},
	{"litmus", test_litmus}, {"faults", test_faults}, {"kill", test_kill},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof tests / sizeof *tests; i++)
		if (strcmp(argv[1], tests[i].name) == 0) {
			tests[i].run();
			printf("ok\n");
			return 0;
		}
	printf("usage: guest_tests NAME\n");
	return 2;
}
