/*
 * For the host: runs a file of SQL on a new SQLite database. make_database DATABASE FILE
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	sqlite3 *database;
	char *text, *message = NULL;
	size_t size;
	FILE *file;

	if (argc != 3 || !(file = fopen(argv[2], "rb")))
		return 2;
	fseek(file, 0, SEEK_END);
	size = (size_t)ftell(file);
	rewind(file);
	text = calloc(size + 1, 1);
	if (!text || fread(text, 1, size, file) != size)
		return 2;
	remove(argv[1]);
	if (sqlite3_open(argv[1], &database) != SQLITE_OK || sqlite3_exec(database, text, NULL, NULL, &message) != SQLITE_OK ||
	    sqlite3_exec(database, "VACUUM", NULL, NULL, &message) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", argv[1], message ? message : sqlite3_errmsg(database));
		return 1;
	}
	return sqlite3_close(database) != SQLITE_OK;
}
