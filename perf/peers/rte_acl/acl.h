/* An rte_acl context for a list of IPv4 rules of which the first that matches wins. */
#ifndef ACL_H
#define ACL_H

#include "dump.h"

#include <rte_acl.h>

/* What is looked up, in network byte order, as it lies in a packet but for the gaps. rte_acl reads the first byte
 * alone and the rest four bytes at a time. */
struct key {
	uint8_t protocol;
	uint8_t gap[3];
	uint32_t source, destination;
	uint16_t source_port, destination_port;
};

/* A way of rte_acl to look up. */
struct method {
	enum rte_acl_classify_alg algorithm;
	const char *name;
};

extern const struct method methods[];
extern const unsigned method_count;

/* How a context came out. */
struct built {
	struct rte_acl_ctx *context;
	double seconds;
	/* Bytes of the tables, rules left out. */
	uint64_t bytes;
};

/* Builds a context. `max_size` bounds the tables' bytes and lets rte_acl try for fewer and larger tries; 0 lets it
 * take the first that it finds. The context is NULL where rte_acl can't. */
struct built build(const struct dump *dump, size_t max_size);

/* The header as rte_acl reads it. */
struct key key_of(const struct header *header);

#endif
