/* A sender and a sink for a pair of veths, between which something forwards.
 *
 *   blast FROM_CLIENTS FROM_SERVERS CAPTURE MAC0 MAC1 SECONDS
 *
 * The frames of the capture lose their tag. Those of VLAN 10 are sent on the first interface to MAC0, those of VLAN 20
 * on the second to MAC1, by packet sockets past the queueing discipline, 64 with each system call. Both interfaces drop
 * what they receive in an XDP program of two instructions: the interface counts it, and nothing else happens to it.
 *
 * First all frames go through three times, slowly, the clients' before the servers', so that all flows are established;
 * then both sides are sent in turn, as fast as can be, for so many seconds. Prints lines of `key value`: what was sent and
 * received a second, the part of the time that the sender had its core, and the part of its calls that a full ring cut
 * short. Where the last is 0, the sender was the limit, and not what it was to measure.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SIDES = 2 };

struct side {
	const char *name;
	int socket, link;
	size_t frames, next;
	struct iovec *parts; /* A frame each. */
};

static void die(const char *what)
{
	fprintf(stderr, "blast: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double seconds(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* What the interface has received, by its own count. */
static unsigned long long received(const struct side *side)
{
	char path[128];
	unsigned long long count;
	snprintf(path, sizeof path, "/sys/class/net/%s/statistics/rx_packets", side->name);
	FILE *file = fopen(path, "r");
	if (!file || fscanf(file, "%llu", &count) != 1)
		die(path);
	fclose(file);
	return count;
}

static void read_mac(const char *text, unsigned char *mac)
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6) {
		fprintf(stderr, "blast: %s is no MAC\n", text);
		exit(1);
	}
}

/* Reads a capture of tagged Ethernet frames, little-endian, as bulkhead-perf writes it. */
static void load(const char *path, struct side *sides, unsigned char macs[SIDES][ETH_ALEN])
{
	FILE *file = fopen(path, "rb");
	uint32_t head[6], record[4];
	if (!file)
		die(path);
	if (fread(head, sizeof head, 1, file) != 1 || head[0] != 0xa1b2c3d4) {
		fprintf(stderr, "blast: %s is not a capture of bulkhead-perf\n", path);
		exit(1);
	}
	while (fread(record, sizeof record, 1, file) == 1) {
		unsigned char *frame = malloc(record[2]);
		if (!frame || record[2] < 60 || fread(frame, record[2], 1, file) != 1)
			die("a frame of the capture");
		int which = frame[15] == 20;
		struct side *side = &sides[which];
		memcpy(frame, macs[which], ETH_ALEN);
		memmove(frame + 12, frame + 16, record[2] - 16);
		if (side->frames % 1024 == 0) {
			side->parts = realloc(side->parts, (side->frames + 1024) * sizeof *side->parts);
			if (!side->parts)
				die("memory");
		}
		side->parts[side->frames++] = (struct iovec){ frame, record[2] - 4 };
	}
	fclose(file);
}

static int bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof *attr);
}

static void open_side(struct side *side, int program)
{
	int one = 1, buffer = 8 << 20;
	unsigned index = if_nametoindex(side->name);
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = index };
	if (!index)
		die(side->name);
	/* Protocol 0: it sends, and hears nothing. */
	side->socket = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (side->socket < 0 || bind(side->socket, (struct sockaddr *)&to, sizeof to) < 0)
		die("packet socket");
	if (setsockopt(side->socket, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one) < 0)
		die("PACKET_QDISC_BYPASS");
	setsockopt(side->socket, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
	union bpf_attr attr = { .link_create = { .prog_fd = program, .target_ifindex = index, .attach_type = BPF_XDP } };
	side->link = bpf(BPF_LINK_CREATE, &attr);
	if (side->link < 0)
		die("attaching XDP");
}

/* Sends the next so many frames of a side, from its start again where they end; counts the calls that were cut short. */
static unsigned long send_some(struct side *side, unsigned count, unsigned long *cut)
{
	struct mmsghdr messages[BATCH] = { 0 };
	for (unsigned i = 0; i < count; i++) {
		messages[i].msg_hdr.msg_iov = &side->parts[side->next];
		messages[i].msg_hdr.msg_iovlen = 1;
		side->next = side->next + 1 == side->frames ? 0 : side->next + 1;
	}
	int sent = sendmmsg(side->socket, messages, count, 0);
	/* A full ring is what happens when the other side is slower. */
	if (sent < 0 && errno != ENOBUFS && errno != EAGAIN)
		die("sendmmsg");
	if (sent < (int)count)
		++*cut;
	return sent < 0 ? 0 : sent;
}

int main(int argc, char **argv)
{
	struct side sides[SIDES] = { 0 };
	unsigned char macs[SIDES][ETH_ALEN];
	if (argc != 7) {
		fprintf(stderr, "usage: blast FROM_CLIENTS FROM_SERVERS CAPTURE MAC0 MAC1 SECONDS\n");
		return 2;
	}
	sides[0].name = argv[1];
	sides[1].name = argv[2];
	read_mac(argv[4], macs[0]);
	read_mac(argv[5], macs[1]);
	load(argv[3], sides, macs);
	if (!sides[0].frames || !sides[1].frames) {
		fprintf(stderr, "blast: %s has frames of one side only\n", argv[3]);
		return 1;
	}

	struct bpf_insn drop[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_DROP },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load_program = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.expected_attach_type = BPF_XDP,
		.insns = (uintptr_t)drop,
		.insn_cnt = 2,
		.license = (uintptr_t) "none",
	};
	int program = bpf(BPF_PROG_LOAD, &load_program);
	if (program < 0)
		die("loading XDP");
	for (int i = 0; i < SIDES; i++)
		open_side(&sides[i], program);

	unsigned long cut = 0, calls = 0;
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < SIDES; i++)
			for (size_t sent = 0; sent < sides[i].frames;) {
				unsigned count = sides[i].frames - sent < 32 ? sides[i].frames - sent : 32;
				send_some(&sides[i], count, &cut);
				sent += count;
				nanosleep(&(struct timespec){ 0, 500000 }, NULL);
			}

	nanosleep(&(struct timespec){ 0, 200000000 }, NULL);
	unsigned long long before = received(&sides[0]) + received(&sides[1]), sent = 0;
	cut = 0;
	double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), end = start + atof(argv[6]);
	while (seconds(CLOCK_MONOTONIC) < end)
		for (int i = 0; i < SIDES; i++)
			sent += send_some(&sides[i], BATCH, &cut), calls++;
	double elapsed = seconds(CLOCK_MONOTONIC) - start;
	unsigned long long after = received(&sides[0]) + received(&sides[1]);
	printf("sent_pps %.0f\nreceived_pps %.0f\nsender_share %.2f\nfull_share %.3f\n", sent / elapsed, (after - before) / elapsed,
	       (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) / elapsed, (double)cut / calls);
	return 0;
}
