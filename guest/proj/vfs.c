/*
 * What SQLite knows of files in a guest: it reads PROJ's database, which is a part of the program and changes never. Whatever would write is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct file {
	sqlite3_file base;
	int descriptor;
};

static int file_close(sqlite3_file *file)
{
	return close(((struct file *)file)->descriptor) ? SQLITE_IOERR_CLOSE : SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *buffer, int size, sqlite3_int64 offset)
{
	int done = 0;

	while (done < size) {
		ssize_t got = pread(((struct file *)file)->descriptor, (char *)buffer + done, (size_t)(size - done), offset + done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return SQLITE_IOERR_READ;
		if (got == 0) {
			memset((char *)buffer + done, 0, (size_t)(size - done));
			return SQLITE_IOERR_SHORT_READ;
		}
		done += (int)got;
	}
	return SQLITE_OK;
}

static int file_write(sqlite3_file *file, const void *buffer, int size, sqlite3_int64 offset)
{
	return SQLITE_READONLY;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	return SQLITE_READONLY;
}

static int file_sync(sqlite3_file *file, int flags)
{
	return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
	struct stat status;

	if (fstat(((struct file *)file)->descriptor, &status))
		return SQLITE_IOERR_FSTAT;
	*size = status.st_size;
	return SQLITE_OK;
}

/* Nobody writes: everybody has the lock. */
static int file_lock(sqlite3_file *file, int level)
{
	return level > SQLITE_LOCK_SHARED ? SQLITE_READONLY : SQLITE_OK;
}

static int file_unlock(sqlite3_file *file, int level)
{
	return SQLITE_OK;
}

static int file_reserved(sqlite3_file *file, int *result)
{
	*result = 0;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int operation, void *argument)
{
	return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *file)
{
	return 4096;
}

static int file_characteristics(sqlite3_file *file)
{
	return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods methods = {
	1, file_close, file_read, file_write, file_truncate, file_sync, file_size, file_lock, file_unlock, file_reserved, file_control, file_sector,
	file_characteristics,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
	struct file *opened = (struct file *)file;

	opened->base.pMethods = NULL;
	if (!name || flags & (SQLITE_OPEN_CREATE | SQLITE_OPEN_DELETEONCLOSE))
		return SQLITE_CANTOPEN;
	opened->descriptor = open(name, O_RDONLY | O_CLOEXEC);
	if (opened->descriptor < 0)
		return SQLITE_CANTOPEN;
	opened->base.pMethods = &methods;
	if (out)
		*out = (flags & ~SQLITE_OPEN_READWRITE) | SQLITE_OPEN_READONLY;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	return SQLITE_IOERR_DELETE;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
	*result = flags == SQLITE_ACCESS_READWRITE ? 0 : access(name, R_OK) == 0;
	return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
	if (strlen(name) >= (size_t)size)
		return SQLITE_CANTOPEN;
	strcpy(out, name);
	return SQLITE_OK;
}

/* Only names of temporary files are made of it, and there are none. */
static int vfs_random(sqlite3_vfs *vfs, int size, char *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	memset(out, 0, (size_t)size);
	memcpy(out, &now, sizeof now < (size_t)size ? sizeof now : (size_t)size);
	return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	return usleep((unsigned)microseconds) ? 0 : microseconds;
}

static int vfs_time(sqlite3_vfs *vfs, double *days)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*days = 2440587.5 + ((double)now.tv_sec + (double)now.tv_nsec / 1e9) / 86400;
	return SQLITE_OK;
}

static int vfs_error(sqlite3_vfs *vfs, int size, char *out)
{
	return errno;
}

static sqlite3_vfs guest_vfs = {
	.iVersion = 1,
	.szOsFile = sizeof(struct file),
	.mxPathname = 1024,
	.zName = "guest",
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full_name,
	.xRandomness = vfs_random,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_time,
	.xGetLastError = vfs_error,
};

int sqlite3_os_init(void)
{
	return sqlite3_vfs_register(&guest_vfs, 1);
}

int sqlite3_os_end(void)
{
	return SQLITE_OK;
}
