/* Reads rules and headers. The records are read as they lie in the file, so this machine must be little-endian. */
#include "dump.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the dump is little-endian");

static void *read_records(const char *directory, const char *name, const char *magic, size_t size, uint32_t *count)
{
	char path[4096], head[8];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *file = fopen(path, "rb");
	if (file == NULL) {
		perror(path);
		exit(EXIT_FAILURE);
	}
	void *records = NULL;
	if (fread(head, sizeof(head), 1, file) == 1 && memcmp(head, magic, sizeof(head)) == 0 &&
	    fread(count, sizeof(*count), 1, file) == 1 && *count > 0)
		records = malloc(*count * size);
	if (records == NULL || fread(records, size, *count, file) != *count) {
		fprintf(stderr, "%s: not a dump of `bulkhead-perf classifier --dump`, or cut off\n", path);
		exit(EXIT_FAILURE);
	}
	fclose(file);
	return records;
}

struct dump read_dump(const char *directory)
{
	struct dump dump;
	dump.rules = read_records(directory, "rules.bin", "BHRULES1", sizeof(struct rule), &dump.rule_count);
	dump.headers = read_records(directory, "headers.bin", "BHHEADS1", sizeof(struct header), &dump.header_count);
	return dump;
}
