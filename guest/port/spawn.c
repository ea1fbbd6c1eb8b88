/*
 * posix_spawn through one system call: the kernel makes the process, there is no fork without a stack to copy.
 * popen() and system() of musl come through here with "/bin/sh -c line", which the kernel reads itself.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <spawn.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>
#include "fdop.h"
#include "syscall.h"

extern char **__environ;
enum { CALL_SPAWN = 0x1004, MAX_ACTIONS = 64 };

struct guest_spawn_action {
	uint32_t op;
	int32_t fd;
	int32_t source_fd;
	uint32_t path;
	uint32_t open_flags;
	uint32_t mode;
};

struct guest_spawn {
	uint32_t path;
	uint32_t argv;
	uint32_t envp;
	uint32_t action_count;
	uint32_t actions;
};

int posix_spawn(pid_t *restrict result, const char *restrict path, const posix_spawn_file_actions_t *file_actions,
                const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
	struct guest_spawn_action actions[MAX_ACTIONS];
	struct guest_spawn request = {
		.path = (uint32_t)path,
		.argv = (uint32_t)argv,
		.envp = (uint32_t)(envp ? envp : __environ),
		.actions = (uint32_t)actions,
	};
	long pid;

	if (file_actions && file_actions->__actions) {
		struct fdop *op = file_actions->__actions;

		/* the list is in reverse order of adding */
		while (op->next)
			op = op->next;
		for (; op; op = op->prev) {
			struct guest_spawn_action *action = &actions[request.action_count];

			if (request.action_count++ == MAX_ACTIONS)
				return ENOMEM;
			action->op = op->cmd;
			action->fd = op->fd;
			action->source_fd = op->srcfd;
			action->path = (uint32_t)op->path;
			action->open_flags = op->oflag;
			action->mode = op->mode;
		}
	}
	pid = __syscall(CALL_SPAWN, &request);
	if (pid < 0)
		return -pid;
	if (result)
		*result = pid;
	return 0;
}

/* Guest programs are found by their base name, so there is no PATH to search. */
int posix_spawnp(pid_t *restrict result, const char *restrict file, const posix_spawn_file_actions_t *file_actions,
                 const posix_spawnattr_t *restrict attributes, char *const argv[restrict], char *const envp[restrict])
{
	return posix_spawn(result, file, file_actions, attributes, argv, envp);
}

pid_t fork(void)
{
	errno = ENOSYS;
	return -1;
}

pid_t vfork(void)
{
	return fork();
}
