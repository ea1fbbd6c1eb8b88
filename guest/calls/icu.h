/* The functions of ICU that PostgreSQL calls (calls.h). */
#include <unicode/ucnv.h>
#include <unicode/ucol.h>
#include <unicode/uiter.h>
#include <unicode/uloc.h>
#include <unicode/ustring.h>

#define CALLS \
	CALL(const char *, u_errorName, (UErrorCode code), (code)) \
	CALL(UBool, u_isalnum, (UChar32 c), (c)) \
	CALL(UBool, u_isalpha, (UChar32 c), (c)) \
	CALL(UBool, u_isdigit, (UChar32 c), (c)) \
	CALL(UBool, u_isgraph, (UChar32 c), (c)) \
	CALL(UBool, u_islower, (UChar32 c), (c)) \
	CALL(UBool, u_isprint, (UChar32 c), (c)) \
	CALL(UBool, u_ispunct, (UChar32 c), (c)) \
	CALL(UBool, u_isspace, (UChar32 c), (c)) \
	CALL(UBool, u_isupper, (UChar32 c), (c)) \
	CALL(UChar32, u_tolower, (UChar32 c), (c)) \
	CALL(UChar32, u_toupper, (UChar32 c), (c)) \
	CALL(UChar *, u_strcat, (UChar *to, const UChar *from), (to, from)) \
	CALL(UChar *, u_strcpy, (UChar *to, const UChar *from), (to, from)) \
	CALL(int32_t, u_strlen, (const UChar *text), (text)) \
	CALL(int32_t, u_strFoldCase, (UChar *to, int32_t size, const UChar *from, int32_t length, uint32_t options, UErrorCode *status), (to, size, from, length, options, status)) \
	CALL(int32_t, u_strToLower, (UChar *to, int32_t size, const UChar *from, int32_t length, const char *locale, UErrorCode *status), (to, size, from, length, locale, status)) \
	CALL(int32_t, u_strToTitle, (UChar *to, int32_t size, const UChar *from, int32_t length, UBreakIterator *breaks, const char *locale, UErrorCode *status), (to, size, from, length, breaks, locale, status)) \
	CALL(int32_t, u_strToUpper, (UChar *to, int32_t size, const UChar *from, int32_t length, const char *locale, UErrorCode *status), (to, size, from, length, locale, status)) \
	VOID_CALL(u_versionToString, (const UVersionInfo version, char *to), (version, to)) \
	CALL(int32_t, ucnv_fromUChars, (UConverter *converter, char *to, int32_t size, const UChar *from, int32_t length, UErrorCode *status), (converter, to, size, from, length, status)) \
	CALL(UConverter *, ucnv_open, (const char *name, UErrorCode *status), (name, status)) \
	CALL(int32_t, ucnv_toUChars, (UConverter *converter, UChar *to, int32_t size, const char *from, int32_t length, UErrorCode *status), (converter, to, size, from, length, status)) \
	VOID_CALL(ucol_close, (UCollator *collator), (collator)) \
	CALL(const UChar *, ucol_getRules, (const UCollator *collator, int32_t *length), (collator, length)) \
	CALL(int32_t, ucol_getSortKey, (const UCollator *collator, const UChar *text, int32_t length, uint8_t *to, int32_t size), (collator, text, length, to, size)) \
	VOID_CALL(ucol_getVersion, (const UCollator *collator, UVersionInfo version), (collator, version)) \
	CALL(int32_t, ucol_nextSortKeyPart, (const UCollator *collator, UCharIterator *text, uint32_t state[2], uint8_t *to, int32_t count, UErrorCode *status), (collator, text, state, to, count, status)) \
	CALL(UCollator *, ucol_open, (const char *locale, UErrorCode *status), (locale, status)) \
	CALL(UCollator *, ucol_openRules, (const UChar *rules, int32_t length, UColAttributeValue normalisation, UCollationStrength strength, UParseError *error, UErrorCode *status), (rules, length, normalisation, strength, error, status)) \
	VOID_CALL(ucol_setAttribute, (UCollator *collator, UColAttribute attribute, UColAttributeValue value, UErrorCode *status), (collator, attribute, value, status)) \
	CALL(UCollationResult, ucol_strcoll, (const UCollator *collator, const UChar *a, int32_t a_length, const UChar *b, int32_t b_length), (collator, a, a_length, b, b_length)) \
	CALL(UCollationResult, ucol_strcollUTF8, (const UCollator *collator, const char *a, int32_t a_length, const char *b, int32_t b_length, UErrorCode *status), (collator, a, a_length, b, b_length, status)) \
	VOID_CALL(uiter_setString, (UCharIterator *iterator, const UChar *text, int32_t length), (iterator, text, length)) \
	VOID_CALL(uiter_setUTF8, (UCharIterator *iterator, const char *text, int32_t length), (iterator, text, length)) \
	CALL(int32_t, uloc_canonicalize, (const char *locale, char *to, int32_t size, UErrorCode *status), (locale, to, size, status)) \
	CALL(int32_t, uloc_countAvailable, (void), ()) \
	CALL(const char *, uloc_getAvailable, (int32_t number), (number)) \
	CALL(int32_t, uloc_getDisplayName, (const char *locale, const char *in, UChar *to, int32_t size, UErrorCode *status), (locale, in, to, size, status)) \
	CALL(int32_t, uloc_getLanguage, (const char *locale, char *to, int32_t size, UErrorCode *status), (locale, to, size, status)) \
	CALL(int32_t, uloc_toLanguageTag, (const char *locale, char *to, int32_t size, UBool strict, UErrorCode *status), (locale, to, size, strict, status))
