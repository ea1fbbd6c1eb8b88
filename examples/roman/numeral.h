#ifndef NUMERAL_H
#define NUMERAL_H

/* bytes of the longest numeral, MMMDCCCLXXXVIII, with its NUL */
#define NUMERAL_SIZE 16
#define NUMERAL_MAX 3999

/* writes the numeral of 1 to NUMERAL_MAX */
extern void numeral_write(int value, char *out, int lower);
/* the value of a numeral, or 0 if it is none */
extern int	numeral_read(const char *text, int length);

#endif
