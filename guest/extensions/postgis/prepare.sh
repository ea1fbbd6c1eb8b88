#!/bin/sh
# Makes what PostGIS's configure and makefiles make, in its tree: headers, the encoders of its protobuf formats, and the scripts of the extension.
# $1: a C preprocessor (clang's), $2: protobuf-c's compiler
set -eu
cpp=$1 protoc=$2
. ./Version.config
version=$POSTGIS_MAJOR_VERSION.$POSTGIS_MINOR_VERSION.$POSTGIS_MICRO_VERSION
minor=$POSTGIS_MAJOR_VERSION.$POSTGIS_MINOR_VERSION
geos=31301 proj=90101 libxml2=2.9.14 postgresql=180

substitute() {
	sed -e "s/@POSTGIS_LIB_VERSION@/$version/g; s/@POSTGIS_SCRIPTS_VERSION@/$version/g; s/@POSTGIS_MAJOR_VERSION@/$POSTGIS_MAJOR_VERSION/g" \
		-e "s/@POSTGIS_MINOR_VERSION@/$POSTGIS_MINOR_VERSION/g; s/@POSTGIS_GEOS_VERSION@/$geos/g; s/@POSTGIS_PROJ_VERSION@/$proj/g" \
		-e "s/@POSTGIS_LIBXML2_VERSION@/$libxml2/g; s/@POSTGIS_SFCGAL_VERSION@/0/g; s/@POSTGIS_PGSQL_VERSION@/$postgresql/g; s/@POSTGIS_PGSQL_HR_VERSION@/18.0/g" \
		-e "s/@POSTGIS_VERSION@/$minor USE_GEOS=1 USE_PROJ=1 USE_STATS=1 USE_LIBXML2=1/g; s/@POSTGIS_BUILD_DATE@/1970-01-01 00:00:00/g" \
		-e "s/@SRID_MAX@/999999/g; s/@SRID_USR_MAX@/998999/g" \
		-e "s/@EXTVERSION@/$version/g; s/@EXTENSION@/$2/g; s!@MODULEPATH@!\$libdir/$2-$POSTGIS_MAJOR_VERSION!g" "$1"
}

substitute liblwgeom/liblwgeom.h.in postgis >liblwgeom/liblwgeom.h
substitute postgis/sqldefines.h.in postgis >postgis/sqldefines.h
cat >postgis_config.h <<END
#ifndef POSTGIS_CONFIG_H
#define POSTGIS_CONFIG_H 1
#include "postgis_revision.h"
#define POSTGIS_DEBUG_LEVEL 0
#define HAVE_FSEEKO 1
#define HAVE_LIBGEOS_C 1
#define HAVE_LIBPROTOBUF 1
#define LIBPROTOBUF_VERSION 1004001
#define HAVE_LIBJSON 1
#define HAVE_LIBPROJ 1
#define HAVE_LIBXML2 1
#define HAVE_LIBXML_PARSER_H 1
#define HAVE_LIBXML_TREE_H 1
#define HAVE_LIBXML_XPATHINTERNALS_H 1
#define HAVE_LIBXML_XPATH_H 1
#define HAVE_UNISTD_H 1
#define HAVE_WAGYU 1
#define STDC_HEADERS 1
#define YYTEXT_POINTER 1
#define PGSQL_LOCALEDIR "/pgsql/share/locale"
#define POSTGIS_BUILD_DATE "1970-01-01 00:00:00"
#define POSTGIS_GEOS_VERSION $geos
#define POSTGIS_PROJ_VERSION $proj
#define POSTGIS_LIBXML2_VERSION "$libxml2"
#define POSTGIS_PGSQL_VERSION $postgresql
#define POSTGIS_LIB_VERSION "$version"
#define POSTGIS_SCRIPTS_VERSION "$version"
#define POSTGIS_VERSION "$minor USE_GEOS=1 USE_PROJ=1 USE_STATS=1 USE_LIBXML2=1"
#define POSTGIS_MAJOR_VERSION "$POSTGIS_MAJOR_VERSION"
#define POSTGIS_MINOR_VERSION "$POSTGIS_MINOR_VERSION"
#define POSTGIS_MICRO_VERSION "$POSTGIS_MICRO_VERSION"
#endif
END

for name in geobuf vector_tile; do
	(cd postgis && $protoc -I. --c_out=. "$name.proto")
done

# script SOURCE LIBRARY INCLUDE...: what the makefiles' SQLPP does, and the name of the library. Transactions belong to CREATE EXTENSION.
script() {
	source=$1 library=$2
	shift 2
	$cpp -E -x c -traditional-cpp -w -P -Upixel -Ubool "$@" "$source" | grep -v '^#' | perl -pe "s!MODULE_PATHNAME!\\\$libdir/$library-$POSTGIS_MAJOR_VERSION!g; s/BEGIN;//g; s/COMMIT;//g"
}

out=extensions/postgis/sql
mkdir -p $out
{
	printf '%s\n' '\echo Use "CREATE EXTENSION postgis" to load this file. \quit'
	script postgis/postgis.sql.in postgis -Ilibpgcommon -Ipostgis
	perl utils/create_spatial_ref_sys_config_dump.pl spatial_ref_sys.sql
	perl -pe 's/BEGIN;//g; s/COMMIT;//g' spatial_ref_sys.sql
} >$out/postgis--$version.sql
substitute extensions/postgis/postgis.control.in postgis >$out/postgis.control

# For its regression tests.
{ script postgis/legacy.sql.in postgis -Ilibpgcommon -Ipostgis; } | sed 's/@extschema@\.//g' >postgis/legacy.sql
perl utils/create_uninstall.pl postgis/legacy.sql $postgresql >postgis/uninstall_legacy.sql
