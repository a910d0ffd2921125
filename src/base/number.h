/* Reads numbers with a decimal point, whatever the locale writes there. */
#ifndef WEFT_NUMBER_H
#define WEFT_NUMBER_H

/* As strtod() in the locale "C". The text ends with NUL. */
double number_read(const char *text, char **end);

#endif
