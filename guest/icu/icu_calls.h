/*
 * The functions of ICU that PostgreSQL calls. ICU is a side module (libicu.rs), linked only where somebody wants it: the server calls through a table (server.c) that
 * the module has (module.c). Both are made of the list below, and checked against ICU's own declarations.
 *
 * ICU_CALL(result, name, parameters, arguments)
 */
#include <unicode/ucnv.h>
#include <unicode/ucol.h>
#include <unicode/uiter.h>
#include <unicode/uloc.h>
#include <unicode/ustring.h>

#define ICU_CALLS \
	ICU_CALL(const char *, u_errorName, (UErrorCode code), (code)) \
	ICU_CALL(UBool, u_isalnum, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_isalpha, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_isdigit, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_isgraph, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_islower, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_isprint, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_ispunct, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_isspace, (UChar32 c), (c)) \
	ICU_CALL(UBool, u_isupper, (UChar32 c), (c)) \
	ICU_CALL(UChar32, u_tolower, (UChar32 c), (c)) \
	ICU_CALL(UChar32, u_toupper, (UChar32 c), (c)) \
	ICU_CALL(UChar *, u_strcat, (UChar *to, const UChar *from), (to, from)) \
	ICU_CALL(UChar *, u_strcpy, (UChar *to, const UChar *from), (to, from)) \
	ICU_CALL(int32_t, u_strlen, (const UChar *text), (text)) \
	ICU_CALL(int32_t, u_strFoldCase, (UChar *to, int32_t size, const UChar *from, int32_t length, uint32_t options, UErrorCode *status), (to, size, from, length, options, status)) \
	ICU_CALL(int32_t, u_strToLower, (UChar *to, int32_t size, const UChar *from, int32_t length, const char *locale, UErrorCode *status), (to, size, from, length, locale, status)) \
	ICU_CALL(int32_t, u_strToTitle, (UChar *to, int32_t size, const UChar *from, int32_t length, UBreakIterator *breaks, const char *locale, UErrorCode *status), (to, size, from, length, breaks, locale, status)) \
	ICU_CALL(int32_t, u_strToUpper, (UChar *to, int32_t size, const UChar *from, int32_t length, const char *locale, UErrorCode *status), (to, size, from, length, locale, status)) \
	ICU_VOID_CALL(u_versionToString, (const UVersionInfo version, char *to), (version, to)) \
	ICU_CALL(int32_t, ucnv_fromUChars, (UConverter *converter, char *to, int32_t size, const UChar *from, int32_t length, UErrorCode *status), (converter, to, size, from, length, status)) \
	ICU_CALL(UConverter *, ucnv_open, (const char *name, UErrorCode *status), (name, status)) \
	ICU_CALL(int32_t, ucnv_toUChars, (UConverter *converter, UChar *to, int32_t size, const char *from, int32_t length, UErrorCode *status), (converter, to, size, from, length, status)) \
	ICU_VOID_CALL(ucol_close, (UCollator *collator), (collator)) \
	ICU_CALL(const UChar *, ucol_getRules, (const UCollator *collator, int32_t *length), (collator, length)) \
	ICU_CALL(int32_t, ucol_getSortKey, (const UCollator *collator, const UChar *text, int32_t length, uint8_t *to, int32_t size), (collator, text, length, to, size)) \
	ICU_VOID_CALL(ucol_getVersion, (const UCollator *collator, UVersionInfo version), (collator, version)) \
	ICU_CALL(int32_t, ucol_nextSortKeyPart, (const UCollator *collator, UCharIterator *text, uint32_t state[2], uint8_t *to, int32_t count, UErrorCode *status), (collator, text, state, to, count, status)) \
	ICU_CALL(UCollator *, ucol_open, (const char *locale, UErrorCode *status), (locale, status)) \
	ICU_CALL(UCollator *, ucol_openRules, (const UChar *rules, int32_t length, UColAttributeValue normalisation, UCollationStrength strength, UParseError *error, UErrorCode *status), (rules, length, normalisation, strength, error, status)) \
	ICU_VOID_CALL(ucol_setAttribute, (UCollator *collator, UColAttribute attribute, UColAttributeValue value, UErrorCode *status), (collator, attribute, value, status)) \
	ICU_CALL(UCollationResult, ucol_strcoll, (const UCollator *collator, const UChar *a, int32_t a_length, const UChar *b, int32_t b_length), (collator, a, a_length, b, b_length)) \
	ICU_CALL(UCollationResult, ucol_strcollUTF8, (const UCollator *collator, const char *a, int32_t a_length, const char *b, int32_t b_length, UErrorCode *status), (collator, a, a_length, b, b_length, status)) \
	ICU_VOID_CALL(uiter_setString, (UCharIterator *iterator, const UChar *text, int32_t length), (iterator, text, length)) \
	ICU_VOID_CALL(uiter_setUTF8, (UCharIterator *iterator, const char *text, int32_t length), (iterator, text, length)) \
	ICU_CALL(int32_t, uloc_canonicalize, (const char *locale, char *to, int32_t size, UErrorCode *status), (locale, to, size, status)) \
	ICU_CALL(int32_t, uloc_countAvailable, (void), ()) \
	ICU_CALL(const char *, uloc_getAvailable, (int32_t number), (number)) \
	ICU_CALL(int32_t, uloc_getDisplayName, (const char *locale, const char *in, UChar *to, int32_t size, UErrorCode *status), (locale, in, to, size, status)) \
	ICU_CALL(int32_t, uloc_getLanguage, (const char *locale, char *to, int32_t size, UErrorCode *status), (locale, to, size, status)) \
	ICU_CALL(int32_t, uloc_toLanguageTag, (const char *locale, char *to, int32_t size, UBool strict, UErrorCode *status), (locale, to, size, strict, status))

#define ICU_CALL(result, name, parameters, arguments) result (*name) parameters;
#define ICU_VOID_CALL(name, parameters, arguments) void (*name) parameters;
struct icu_calls {
	ICU_CALLS
};
#undef ICU_CALL
#undef ICU_VOID_CALL

/* The side module's name, and the name of its function that returns its table. */
#define ICU_LIBRARY "icu"
#define ICU_TABLE "icu_table"
