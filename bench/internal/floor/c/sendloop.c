// sendloop: the floor that fan-out is measured against. It accepts N connections and sends the same bytes to each of them,
// one send(2) a connection, in a plain loop. Nothing else is here to be faster at.
//
//   sendloop N SIZE
//
// It prints "port P" at once and "ready" when N connections have come. Then it reads lines "MESSAGES NANOSECONDS" from
// standard input: for each it sends MESSAGES messages of SIZE bytes to all, one each so many nanoseconds, and prints
// "sent COUNT SHORT": the sends that were whole, and those that were not. It ends with its input.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static void die(const char *what) {
	perror(what);
	exit(1);
}

static struct timespec later(struct timespec t, long ns) {
	t.tv_nsec += ns % 1000000000;
	t.tv_sec += ns / 1000000000 + t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

int main(int argc, char **argv) {
	if (argc != 3) {
		fprintf(stderr, "usage: sendloop N SIZE\n");
		return 2;
	}
	int n = atoi(argv[1]), size = atoi(argv[2]), one = 1;
	int *fds = calloc(n, sizeof *fds);
	char *message = malloc(size);
	if (n < 1 || size < 1 || !fds || !message)
		return 2;
	memset(message, '.', size);

	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	if (l < 0 || bind(l, (void *)&a, len) < 0 || listen(l, 4096) < 0 || getsockname(l, (void *)&a, &len) < 0)
		die("listen");
	printf("port %d\n", ntohs(a.sin_port));
	fflush(stdout);
	for (int i = 0; i < n; i++) {
		if ((fds[i] = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
			die("accept");
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	}
	printf("ready\n");
	fflush(stdout);

	long messages, interval;
	while (scanf("%ld %ld", &messages, &interval) == 2) {
		long whole = 0, part = 0;
		struct timespec due;
		clock_gettime(CLOCK_MONOTONIC, &due);
		for (long m = 0; m < messages; m++) {
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
			for (int i = 0; i < n; i++) {
				if (send(fds[i], message, size, MSG_DONTWAIT | MSG_NOSIGNAL) == size)
					whole++;
				else
					part++;
			}
			due = later(due, interval);
		}
		printf("sent %ld %ld\n", whole, part);
		fflush(stdout);
	}
	return 0;
}
