/* Three kinds of lists run through the requests: a ring for each key, a ring of the first requests
 * of all keys, and a list of all by age. */
#include "serve/queue.h"

#include <string.h>

/* Adds a request at the end of a ring, which is before its first one; NULL is the empty ring. */
static void line_add(struct queued *first, struct queued *one)
{
    if (first == NULL) {
        one->before = one->behind = one;
        return;
    }
    one->before = first->before;
    one->behind = first;
    first->before->behind = one;
    first->before = one;
}

static void line_leave(struct queued *one)
{
    one->before->behind = one->behind;
    one->behind->before = one->before;
}

/* A new key has its turn when all the others have had theirs. */
static void turns_add(struct queue *q, struct queued *one)
{
    if (q->turn == NULL) {
        q->turn = one->left = one->right = one;
        return;
    }
    one->left = q->turn->left;
    one->right = q->turn;
    q->turn->left->right = one;
    q->turn->left = one;
}

static void turns_leave(struct queue *q, struct queued *one)
{
    if (q->turn == one) {
        q->turn = one->right != one ? one->right : NULL;
    }
    one->left->right = one->right;
    one->right->left = one->left;
}

/* The second request of a key takes the place of the first. */
static void turns_inherit(struct queue *q, struct queued *first, struct queued *second)
{
    const bool alone = first->right == first;
    second->left = alone ? second : first->left;
    second->right = alone ? second : first->right;
    second->left->right = second->right->left = second;
    q->turn = q->turn == first ? second : q->turn;
}

/* Clocks go forward, so the place is nearly always at the end. */
static void age_add(struct queue *q, struct queued *one)
{
    struct queued *older = q->newest;
    while (older != NULL && older->since > one->since) {
        older = older->older;
    }
    one->older = older;
    one->newer = older != NULL ? older->newer : q->oldest;
    *(older != NULL ? &older->newer : &q->oldest) = one;
    *(one->newer != NULL ? &one->newer->older : &q->newest) = one;
}

static void age_leave(struct queue *q, struct queued *one)
{
    *(one->older != NULL ? &one->older->newer : &q->oldest) = one->newer;
    *(one->newer != NULL ? &one->newer->older : &q->newest) = one->older;
}

/* Returns the first request of a key, or NULL. */
static struct queued *first_of(const struct queue *q, const char *key)
{
    struct queued *first = q->turn;
    if (first == NULL) {
        return NULL;
    }
    do {
        if (strcmp(first->key, key) == 0) {
            return first;
        }
        first = first->right;
    } while (first != q->turn);
    return NULL;
}

void queue_push(struct queue *q, struct queued *one)
{
    struct queued *first = first_of(q, one->key);
    one->left = one->right = NULL;
    line_add(first, one);
    if (first == NULL) {
        turns_add(q, one);
    }
    age_add(q, one);
    one->waits = true;
    q->n++;
}

struct queued *queue_pop(struct queue *q)
{
    struct queued *one = q->turn;
    if (one != NULL) {
        q->turn = one->right;
        queue_remove(q, one);
    }
    return one;
}

/* Only the first request of a key stands among the turns. */
static void leave_line(struct queue *q, struct queued *one)
{
    if (one->right != NULL && one->behind != one) {
        turns_inherit(q, one, one->behind);
    } else if (one->right != NULL) {
        turns_leave(q, one);
    }
    age_leave(q, one);
}

void queue_remove(struct queue *q, struct queued *one)
{
    if (!one->waits) {
        return;
    }
    leave_line(q, one);
    line_leave(one);
    one->waits = false;
    q->n--;
}

struct queued *queue_expire(struct queue *q, double now, double wait)
{
    struct queued *one = q->oldest;
    if (one == NULL || now - one->since <= wait) {
        return NULL;
    }
    queue_remove(q, one);
    return one;
}
