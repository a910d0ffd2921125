/* Who is at the other end of a connection. */
#ifndef WEFT_HTTP_PEER_H
#define WEFT_HTTP_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

struct peer {
    /* The address that limits count: of IPv6 only the network, because a client has all addresses
     * of it. All zero for a Unix socket, which is not limited. */
    unsigned char network[16];
    char text[INET6_ADDRSTRLEN];
};

struct peer peer_of(const struct sockaddr_storage *address);
bool peer_is_limited(const struct peer *p);
bool peer_is_same(const struct peer *a, const struct peer *b);

#endif
