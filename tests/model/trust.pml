/* trust.pml - who may have missed an invalidation knows it (docs/decisions/0010): two nodes over a bus without an order.
 *
 * Messages are lost, and overtake each other.  A writes; B holds a copy, and trusts it up to a moment.  Each numbers what it
 * sends.  A heartbeat says when its sender had last been heard by the other: the sending time of the newest heartbeat of the other's
 * that had come in, and the highest number that the sender has sent.  B believes in a sending time of its own, `proven`, once a
 * heartbeat of A's names it, and B has everything up to the number that it names.  It trusts what it holds for TRUST ticks after that.
 *
 * What must hold: a hit that B trusts is not superseded by a write that returned TRUST ticks ago or longer.
 *
 * Assumed: a write returns once its message was sent, which says nothing about its coming; the clocks of both nodes run equally fast
 * (only B's own clock is compared); B was told of everything before the beginning.
 *
 * Sabotage, each of which must fail: -DNO_GAPS (the numbers are not looked at), -DNO_ECHO (A's heartbeat proves its own time of
 * arrival), -DNO_SILENCE (trust does not end). */
#define TRUST 2
#ifndef TICKS
#define TICKS 4
#endif
#define ROOM 2
#define NOBODY 255

mtype = { none, invalidation, heartbeat };

byte now;                  /* B's clock, and everybody's */
/* Under way from A to B. */
mtype kind[ROOM];
byte number[ROOM];         /* of an invalidation; of a heartbeat the highest that was sent */
byte named[ROOM];          /* of a heartbeat: B's that A had heard */
/* Under way from B to A: heartbeats, by their sending time. */
byte beats[ROOM];

byte sent;                 /* A: its last number */
byte heard = NOBODY;       /* A: B's newest heartbeat */
byte returned_at = NOBODY; /* when the first write returned after B's copy was made */

byte got;                  /* B: everything up to this number has come */
bool ahead;                /* B: the one after the next has come */
byte proven;               /* B */
bool obeyed = true;        /* B has no copy that is superseded */

#ifdef NO_GAPS
#define WHOLE(n) true
#else
#define WHOLE(n) (got >= n)
#endif
#ifdef NO_SILENCE
#define TRUSTED true
#else
#define TRUSTED (now < proven + TRUST)
#endif
#define SOUND (!TRUSTED || obeyed || now < returned_at + TRUST)

inline settle_arrival(i)
{
    if
    :: kind[i] == invalidation && number[i] == got + 1 ->
        got++;
        if
        :: ahead -> got++; ahead = false
        :: else
        fi
    :: kind[i] == invalidation && number[i] == got + 2 -> ahead = true
    :: else
    fi;
    if
    :: kind[i] == invalidation -> obeyed = true; returned_at = NOBODY /* the copy goes; the next one is of now */
    :: kind[i] == heartbeat && named[i] != NOBODY && WHOLE(number[i]) ->
#ifdef NO_ECHO
        proven = now
#else
        if
        :: named[i] > proven -> proven = named[i]
        :: else
        fi
#endif
    :: else
    fi;
    kind[i] = none; number[i] = 0; named[i] = 0
}

proctype A()
{
    byte i;
    do
    :: atomic { /* a write, which returns */
            sent < 2;
            i = 0;
            do
            :: i < ROOM && kind[i] != none -> i++
            :: else -> break
            od;
            i < ROOM;
            sent++;
            kind[i] = invalidation; number[i] = sent;
            if
            :: obeyed -> obeyed = false; returned_at = now
            :: else
            fi;
            i = 0
       }
    :: atomic { /* a heartbeat */
            heard != NOBODY || sent > 0;
            i = 0;
            do
            :: i < ROOM && kind[i] != none -> i++
            :: else -> break
            od;
            i < ROOM;
            kind[i] = heartbeat; number[i] = sent; named[i] = heard;
            i = 0
       }
    :: atomic { beats[0] != NOBODY -> if :: heard == NOBODY || beats[0] > heard -> heard = beats[0] :: else fi; beats[0] = NOBODY }
    :: atomic { beats[1] != NOBODY -> if :: heard == NOBODY || beats[1] > heard -> heard = beats[1] :: else fi; beats[1] = NOBODY }
    od
}

proctype B()
{
    byte i;
    do
    :: atomic { /* a heartbeat */
            beats[0] == NOBODY || beats[1] == NOBODY;
            if
            :: beats[0] == NOBODY -> beats[0] = now
            :: else -> beats[1] = now
            fi
       }
    :: atomic { kind[0] != none -> settle_arrival(0); assert(SOUND) }
    :: atomic { kind[1] != none -> settle_arrival(1); assert(SOUND) }
    od
}

proctype world()
{
    do
    :: atomic { now < TICKS -> now++; assert(SOUND) }
    :: atomic { kind[0] != none -> kind[0] = none; number[0] = 0; named[0] = 0 } /* lost */
    :: atomic { kind[1] != none -> kind[1] = none; number[1] = 0; named[1] = 0 }
    :: atomic { beats[0] != NOBODY -> beats[0] = NOBODY }
    :: atomic { beats[1] != NOBODY -> beats[1] = NOBODY }
    od
}

init
{
    atomic {
        kind[0] = none; kind[1] = none;
        beats[0] = NOBODY; beats[1] = NOBODY;
        run A(); run B(); run world()
    }
}
