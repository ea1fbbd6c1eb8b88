/* The table of loadable modules of programs that have none. */
#include "dl_table.h"

const struct guest_library guest_libraries[] = {{0, 0}};
