# What the Makefile of an extension includes as $(PGXS): the variables of PostgreSQL's own, and rules that compile for guests. `pglite ext build` links what is compiled; nothing is installed.

.DEFAULT_GOAL := all

MAJORVERSION = 18
PORTNAME = linux
DLSUFFIX = .so
srcdir ?= .
MODULEDIR ?= $(if $(EXTENSION),extension,contrib)
BISON ?= bison
FLEX ?= flex
PERL ?= perl
AWK ?= awk
INSTALL_DATA = install -m 644
INSTALL_PROGRAM = install -m 755
INSTALL_SHLIB = install -m 755
INSTALL_SCRIPT = install -m 755
MKDIR_P = mkdir -p
RM ?= rm -f
includedir_server = $(PGLITE_POSTGRES)/src/include
includedir = $(includedir_server)
libpq_srcdir = $(PGLITE_POSTGRES)/src/interfaces/libpq
pkglibdir = $(shell $(PG_CONFIG) --pkglibdir)
datadir = $(shell $(PG_CONFIG) --sharedir)
bindir = $(shell $(PG_CONFIG) --bindir)
# libpq is a part of the server
libpq = -lpq
libpq_pgport = -lpq

override CC = $(PGLITE_CC)
override CPPFLAGS := -I. -I$(srcdir) $(PG_CPPFLAGS) -I$(includedir_server) -I$(libpq_srcdir) $(CPPFLAGS)
override CFLAGS := $(CFLAGS) $(PG_CFLAGS)

pglite_objects = $(if $(MODULE_big),$(OBJS)) $(MODULES:%=%.o)

.PHONY: all install uninstall installdirs installcheck check clean distclean maintainer-clean pglite-describe
all: $(DATA_built) $(DATA_TSEARCH_built) $(HEADERS_built) $(pglite_objects)

%.o: %.c
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

%.c: %.y
	$(BISON) -Wno-deprecated $(BISONFLAGS) -d -o $@ $<

%.c: %.l
	$(FLEX) $(FLEXFLAGS) -o$@ $<

pglite-describe:
	$(foreach name,MODULE_big MODULES OBJS EXTENSION MODULEDIR DATA DATA_built DATA_TSEARCH DATA_TSEARCH_built SHLIB_LINK PG_LIBS LDFLAGS_SL PROGRAM SCRIPTS SCRIPTS_built,$(info pglite:$(name)=$(strip $($(name)))))
	@:
