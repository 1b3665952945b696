/* Builds rte_acl contexts. One category; the priority is the place in the list, counted from its end. */
#include "acl.h"

#include <arpa/inet.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PROTOCOL, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT, FIELDS };

RTE_ACL_RULE_DEF(tuple_rule, FIELDS);

/* Fields with one input index are read together, and must fill four bytes: that is why the ports share one. */
static const struct rte_acl_field_def fields[FIELDS] = {
	{RTE_ACL_FIELD_TYPE_BITMASK, sizeof(uint8_t), PROTOCOL, 0, offsetof(struct key, protocol)},
	{RTE_ACL_FIELD_TYPE_MASK, sizeof(uint32_t), SOURCE, 1, offsetof(struct key, source)},
	{RTE_ACL_FIELD_TYPE_MASK, sizeof(uint32_t), DESTINATION, 2, offsetof(struct key, destination)},
	{RTE_ACL_FIELD_TYPE_RANGE, sizeof(uint16_t), SOURCE_PORT, 3, offsetof(struct key, source_port)},
	{RTE_ACL_FIELD_TYPE_RANGE, sizeof(uint16_t), DESTINATION_PORT, 3, offsetof(struct key, destination_port)},
};

const struct method methods[] = {
	{RTE_ACL_CLASSIFY_SCALAR, "scalar"},
	{RTE_ACL_CLASSIFY_SSE, "sse"},
	{RTE_ACL_CLASSIFY_AVX2, "avx2"},
	{RTE_ACL_CLASSIFY_AVX512X16, "avx512x16"},
	{RTE_ACL_CLASSIFY_AVX512X32, "avx512x32"},
};
const unsigned method_count = sizeof(methods) / sizeof(methods[0]);

static struct tuple_rule tuple_rule(const struct dump *dump, uint32_t number)
{
	const struct rule *rule = &dump->rules[number];
	struct tuple_rule tuple;
	memset(&tuple, 0, sizeof(tuple));
	tuple.data.category_mask = 1;
	tuple.data.priority = (int32_t)(dump->rule_count - number);
	/* 0 is what rte_acl says when nothing matches. */
	tuple.data.userdata = number + 1;
	tuple.field[PROTOCOL].value.u8 = rule->protocol;
	tuple.field[PROTOCOL].mask_range.u8 = rule->protocol_mask;
	tuple.field[SOURCE].value.u32 = rule->source;
	tuple.field[SOURCE].mask_range.u32 = rule->source_length;
	tuple.field[DESTINATION].value.u32 = rule->destination;
	tuple.field[DESTINATION].mask_range.u32 = rule->destination_length;
	tuple.field[SOURCE_PORT].value.u16 = rule->source_first;
	tuple.field[SOURCE_PORT].mask_range.u16 = rule->source_last;
	tuple.field[DESTINATION_PORT].value.u16 = rule->destination_first;
	tuple.field[DESTINATION_PORT].mask_range.u16 = rule->destination_last;
	return tuple;
}

static uint64_t allocated(void)
{
	struct rte_malloc_socket_stats stats;
	return rte_malloc_get_socket_stats(0, &stats) == 0 ? stats.heap_allocsz_bytes : 0;
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct built build(const struct dump *dump, size_t max_size)
{
	static unsigned count;
	char name[RTE_ACL_NAMESIZE];
	snprintf(name, sizeof(name), "rules-%u", count++);
	struct rte_acl_param parameters = {
		.name = name,
		.socket_id = SOCKET_ID_ANY,
		.rule_size = RTE_ACL_RULE_SZ(FIELDS),
		.max_rule_num = dump->rule_count,
	};
	struct built built = {.context = rte_acl_create(&parameters)};
	if (built.context == NULL) {
		fprintf(stderr, "rte_acl_create: %s\n", rte_strerror(rte_errno));
		exit(EXIT_FAILURE);
	}
	for (uint32_t number = 0; number < dump->rule_count; number++) {
		struct tuple_rule rule = tuple_rule(dump, number);
		int error = rte_acl_add_rules(built.context, (const struct rte_acl_rule *)&rule, 1);
		if (error != 0) {
			fprintf(stderr, "rte_acl_add_rules, rule %u: %s\n", number, strerror(-error));
			exit(EXIT_FAILURE);
		}
	}
	struct rte_acl_config config = {.num_categories = 1, .num_fields = FIELDS, .max_size = max_size};
	memcpy(config.defs, fields, sizeof(fields));
	uint64_t before = allocated();
	double start = now();
	int error = rte_acl_build(built.context, &config);
	built.seconds = now() - start;
	built.bytes = allocated() - before;
	if (error != 0) {
		fprintf(stderr, "rte_acl_build, at most %zu bytes: %s\n", max_size, strerror(-error));
		rte_acl_free(built.context);
		built.context = NULL;
	}
	return built;
}

struct key key_of(const struct header *header)
{
	return (struct key){
		.protocol = header->protocol,
		.source = htonl(header->source),
		.destination = htonl(header->destination),
		.source_port = htons(header->source_port),
		.destination_port = htons(header->destination_port),
	};
}
