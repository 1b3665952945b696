/* Times rte_acl on dumped rules and headers, and holds each of its answers against the dumped ones.
 *
 *   rte_acl DIR [--method NAME] [--burst N] [--max-size BYTES] [--runs N] [--seconds S] [--core N] [--huge]
 *
 * What is left out is tried: every method that this machine has, bursts of 32 and 256, and two ways to build. Each is
 * timed for a moment; the best is then timed in full. `--huge` takes
 * the 2 MB pages that the machine has reserved, as DPDK is meant to be used. Results are lines of `key value` on standard output. */
#include "acl.h"

#include <getopt.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_RUNS 1000
#define MOST_BURST 4096
/* As many bytes of tables as rte_acl may use where it is to try for speed. */
#define ROOMY ((size_t)4 << 30)

struct options {
	const char *directory;
	const char *method;
	unsigned burst;
	bool has_max_size;
	size_t max_size;
	unsigned runs;
	double seconds;
	const char *core;
	bool is_huge;
};

/* What is looked up: as rte_acl wants it, pointers to keys. */
struct trace {
	struct key *keys;
	const uint8_t **pointers;
	uint32_t count;
};

/* One way to build and to look up. */
struct choice {
	const struct method *method;
	unsigned burst;
	size_t max_size;
	struct built built;
	double rate;
};

static double seconds_of(clockid_t clock)
{
	struct timespec time;
	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double now(void)
{
	return seconds_of(CLOCK_MONOTONIC);
}

static void say(const char *what, const char *detail)
{
	static double start;
	if (start == 0)
		start = now();
	fprintf(stderr, "%8.2f s  %s%s\n", now() - start, what, detail);
}

static void start_eal(const struct options *options)
{
	char *arguments[16] = {"rte_acl", "--no-pci", "--no-telemetry", "--log-level=3", "--force-max-simd-bitwidth=512",
			       "-l", (char *)options->core};
	int count = 7;
	if (options->is_huge) {
		arguments[count++] = "--in-memory";
	} else {
		arguments[count++] = "--no-huge";
		arguments[count++] = "--no-shconf";
		arguments[count++] = "-m";
		arguments[count++] = "8192";
	}
	if (rte_eal_init(count, arguments) < 0) {
		fprintf(stderr, "rte_eal_init: %s\n", rte_strerror(rte_errno));
		exit(EXIT_FAILURE);
	}
}

static struct trace make_trace(const struct dump *dump)
{
	struct trace trace = {.count = dump->header_count};
	trace.keys = aligned_alloc(64, (trace.count * sizeof(struct key) + 63) / 64 * 64);
	trace.pointers = malloc(trace.count * sizeof(*trace.pointers));
	if (trace.keys == NULL || trace.pointers == NULL) {
		fprintf(stderr, "no memory for %u headers\n", trace.count);
		exit(EXIT_FAILURE);
	}
	for (uint32_t at = 0; at < trace.count; at++) {
		trace.keys[at] = key_of(&dump->headers[at]);
		trace.pointers[at] = (const uint8_t *)&trace.keys[at];
	}
	return trace;
}

static inline uint32_t lesser(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Millions of look-ups by second of the clock on the wall, and by second that the thread had the core. */
struct rate {
	double by_wall, by_cpu;
};

/* Over whole rounds of all headers. */
static struct rate rate(const struct choice *choice, const struct trace *trace, double seconds)
{
	uint32_t results[MOST_BURST];
	uint64_t looked_up = 0;
	double start = now(), start_cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID), elapsed;
	do {
		for (uint32_t at = 0; at < trace->count; at += choice->burst) {
			uint32_t count = lesser(choice->burst, trace->count - at);
			rte_acl_classify_alg(choice->built.context, trace->pointers + at, results, count, 1,
					     choice->method->algorithm);
			__asm__ volatile("" : : "r"(results) : "memory");
		}
		looked_up += trace->count;
		elapsed = now() - start;
	} while (elapsed < seconds);
	double cpu = seconds_of(CLOCK_THREAD_CPUTIME_ID) - start_cpu;
	return (struct rate){(double)looked_up / elapsed / 1e6, (double)looked_up / cpu / 1e6};
}

/* Ends the program at the first answer that is not the dumped one. */
static void verify(const struct choice *choice, const struct trace *trace, const struct dump *dump)
{
	uint32_t results[MOST_BURST];
	for (uint32_t at = 0; at < trace->count; at += choice->burst) {
		uint32_t count = lesser(choice->burst, trace->count - at);
		rte_acl_classify_alg(choice->built.context, trace->pointers + at, results, count, 1,
				     choice->method->algorithm);
		for (uint32_t lane = 0; lane < count; lane++) {
			uint32_t rule = results[lane] == 0 ? NO_RULE : results[lane] - 1;
			uint32_t expected = dump->headers[at + lane].rule;
			if (rule != expected) {
				fprintf(stderr, "%s: header %u: rule %d here, %d there (-1: none)\n",
					choice->method->name, at + lane, (int)rule, (int)expected);
				exit(EXIT_FAILURE);
			}
		}
	}
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Tries all that the options leave open on one context; whether something beats the best so far. */
static bool try_methods(const struct options *options, const struct built *built, size_t max_size,
			const struct trace *trace, const struct dump *dump, struct choice *best)
{
	static const unsigned bursts[] = {32, 256};
	bool is_better = false;
	for (unsigned m = 0; m < method_count; m++) {
		const struct method *method = &methods[m];
		if (options->method != NULL && strcmp(options->method, method->name) != 0)
			continue;
		if (rte_acl_set_ctx_classify(built->context, method->algorithm) != 0) {
			say("not on this machine: ", method->name);
			continue;
		}
		for (unsigned b = 0; b < 2; b++) {
			struct choice choice = {method, options->burst ? options->burst : bursts[b], max_size, *built, 0};
			verify(&choice, trace, dump);
			choice.rate = rate(&choice, trace, options->seconds < 0.3 ? options->seconds : 0.3).by_cpu;
			printf("tried %s burst %u max_size %zu mlookups_per_cpu_s %.3f\n", method->name, choice.burst,
			       max_size, choice.rate);
			if (choice.rate > best->rate) {
				*best = choice;
				is_better = true;
			}
			if (options->burst)
				break;
		}
	}
	return is_better;
}

static struct options parse(int count, char **words)
{
	static const struct option names[] = {
		{"method", required_argument, NULL, 'm'},   {"burst", required_argument, NULL, 'b'},
		{"max-size", required_argument, NULL, 'x'}, {"runs", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'},  {"core", required_argument, NULL, 'c'},
		{"huge", no_argument, NULL, 'h'},	    {NULL, 0, NULL, 0},
	};
	struct options options = {.runs = 5, .seconds = 1, .core = "0"};
	int option;
	while ((option = getopt_long(count, words, "", names, NULL)) != -1) {
		switch (option) {
		case 'm': options.method = optarg; break;
		case 'b': options.burst = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'x': options.has_max_size = true; options.max_size = strtoull(optarg, NULL, 10); break;
		case 'r': options.runs = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': options.seconds = strtod(optarg, NULL); break;
		case 'c': options.core = optarg; break;
		case 'h': options.is_huge = true; break;
		default: exit(EXIT_FAILURE);
		}
	}
	if (optind + 1 != count || options.runs < 1 || options.runs > MOST_RUNS || options.burst > MOST_BURST) {
		fprintf(stderr, "usage: rte_acl DIR [--method NAME] [--burst N] [--max-size BYTES] [--runs N] "
				"[--seconds S] [--core N] [--huge]\n");
		exit(EXIT_FAILURE);
	}
	options.directory = words[optind];
	return options;
}

int main(int count, char **words)
{
	struct options options = parse(count, words);
	struct dump dump = read_dump(options.directory);
	start_eal(&options);
	struct trace trace = make_trace(&dump);

	size_t sizes[] = {0, ROOMY};
	unsigned size_count = 2;
	if (options.has_max_size) {
		sizes[0] = options.max_size;
		size_count = 1;
	}
	struct choice best = {0};
	for (unsigned s = 0; s < size_count; s++) {
		say("building", sizes[s] == 0 ? ", smallest" : ", roomy");
		struct built built = build(&dump, sizes[s]);
		if (built.context == NULL)
			continue;
		printf("built max_size %zu build_s %.3f table_mb %.3f\n", sizes[s], built.seconds, (double)built.bytes / 1e6);
		say("built, timing each method", "");
		struct rte_acl_ctx *before = best.built.context;
		bool is_better = try_methods(&options, &built, sizes[s], &trace, &dump, &best);
		rte_acl_free(is_better ? before : built.context);
	}
	if (best.method == NULL) {
		fprintf(stderr, "rte_acl can't do this\n");
		return EXIT_FAILURE;
	}
	double by_wall[MOST_RUNS], by_cpu[MOST_RUNS];
	say("timing the best: ", best.method->name);
	for (unsigned run = 0; run < options.runs; run++) {
		struct rate got = rate(&best, &trace, options.seconds);
		by_wall[run] = got.by_wall;
		by_cpu[run] = got.by_cpu;
	}
	qsort(by_wall, options.runs, sizeof(by_wall[0]), ascending);
	qsort(by_cpu, options.runs, sizeof(by_cpu[0]), ascending);
	printf("method %s\nburst %u\nmax_size %zu\n", best.method->name, best.burst, best.max_size);
	printf("build_s %.3f\ntable_mb %.3f\n", best.built.seconds, (double)best.built.bytes / 1e6);
	printf("pages %s\n", options.is_huge ? "2MB" : "4kB");
	printf("rules %u\nheaders %u\nverified %u\n", dump.rule_count, dump.header_count, trace.count);
	printf("mlookups_per_s %.3f\n", by_wall[options.runs / 2]);
	printf("mlookups_per_cpu_s %.3f\n", by_cpu[options.runs / 2]);
	return EXIT_SUCCESS;
}
