/* The files that `bulkhead-perf classifier --dump` writes: rules, headers, and the rule that each header comes to.
 * The layout is described where it is written, in perf/src/classifier/dump.rs. */
#ifndef DUMP_H
#define DUMP_H

#include <stdint.h>

/* What a header bears as its rule when no rule matches. */
#define NO_RULE UINT32_MAX

struct rule {
	uint32_t source, destination;
	uint8_t source_length, destination_length;
	uint8_t protocol, protocol_mask;
	uint16_t source_first, source_last;
	uint16_t destination_first, destination_last;
};
_Static_assert(sizeof(struct rule) == 20, "a rule's record has 20 bytes");

struct header {
	uint32_t source, destination;
	uint16_t source_port, destination_port;
	uint8_t protocol;
	uint8_t zero[3];
	uint32_t rule;
};
_Static_assert(sizeof(struct header) == 20, "a header's record has 20 bytes");

struct dump {
	struct rule *rules;
	uint32_t rule_count;
	struct header *headers;
	uint32_t header_count;
};

/* Reads both files of a directory; ends the program, with a message, where that fails. */
struct dump read_dump(const char *directory);

#endif
