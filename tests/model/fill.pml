/* fill.pml - filling, invalidating and leasing one key (docs/decisions/0007, 0010), small enough to be looked at in every order.
 *
 * Nodes with a memory each, one shared store, one log of invalidations.  A step is what is one step in the code too: a script in the
 * store, what happens under a key's lock.  Between any two, everything else may happen.
 *
 * What must hold, always:
 *   STORE  no entry that the store would serve is older than a write that has returned
 *   OWN    a node's memory holds nothing older than a write of its own that has returned
 *   TOLD   nor anything older than a write that it was told of
 *   READ   what a flight answers is not older than what its node had written, or was told of, when it began
 *
 * Assumed, and not shown here:
 *   - a script is carried out as a whole, and tokens and lives are never the same twice;
 *   - writes of one key have an order in the origin: there is one at a time;
 *   - a server that took over is greeted before anything else is asked of it, which begins a new life, and commands that were on
 *     their way to its predecessor are lost with that;
 *   - versions rise with every write, also over a failover: max(last + 1, clock);
 *   - the log is delivered to each node whole and in order, sooner or later (who may have missed something: trust.pml).
 *
 * -DFAILOVER: the store fails over once, to a replica of any earlier moment, and no log.  -DLOG: a log, and no failover.  Both at once are
 * more states than a build has time for.
 *
 * Sabotage, each of which must fail: -DNO_FENCE -DNO_LEASE_CHECK -DNO_LIFE_CHECK -DNO_LOG_FENCE */
#define NODES 2
#ifndef WRITES
#define WRITES 2
#endif

mtype = { nothing, entry, leased, tombstone };

/* The store.  A lease may be wrapped around the entry that is to be replaced. */
mtype kind = nothing;
byte val;      /* the origin's version of the value */
byte ver;      /* twice the number of writes before, and one more where it was loaded */
byte holder;   /* of the lease: a node, and */
bool wraps;    /* around an entry */
bool current;  /* what stands there is of the life that the store has now */

/* A replica, as of some moment. */
mtype r_kind = nothing;
byte r_val, r_ver, r_holder;
bool r_wraps;
bool replicated, failed_over;

/* The origin, and what was written so far. */
byte origin;   /* its version */
byte carried;  /* writes that the store has carried out */
byte returned; /* the last one that returned */
bool writing;  /* one is at work */

/* The log: what the nth message says. */
byte log_val[WRITES], log_ver[WRITES], log_from[WRITES];
byte logged;

/* Nodes.  Their memory: 0 is nothing, else the value's version and 1. */
byte mem[NODES], mem_ver[NODES];
bool flies[NODES]; /* a flight is under way */
bool poisoned[NODES];
bool busy[NODES];     /* a write is in the table: flights wait for it */
bool outdated[NODES]; /* word of a later one came meanwhile */
byte write_ver[NODES];
byte own[NODES];      /* its own last write that returned */
byte told[NODES];     /* the last one that it was told of */
byte heard[NODES];    /* messages */

/* What stands there; whatever means nothing is 0, so that it is no other state. */
inline stands(k, v, r, h, w, c)
{
    kind = k; val = v; ver = r; holder = h; wraps = w; current = c
}
inline unwrap()
{
    if
    :: wraps -> stands(entry, val, ver, 0, false, current)
    :: else -> stands(nothing, 0, 0, 0, false, true)
    fi
}
#ifdef LOG
#define VERSION(v) (v)
#else
#define VERSION(v) 0
#endif

#define SERVED ((kind == entry || (kind == leased && wraps)) && current)
#define STORE_HOLDS (!SERVED || val >= returned)
#define MEM_HOLDS(n) (mem[n] == 0 || (mem[n] > own[n] && mem[n] > told[n]))

#ifdef NO_FENCE
#define MAY_FILL(n) true
#else
#define MAY_FILL(n) (!poisoned[n])
#endif
#ifdef NO_LEASE_CHECK
#define MINE(n) true
#else
#define MINE(n) (kind == leased && holder == n)
#endif
#ifdef NO_LIFE_CHECK
#define ALIVE true
#else
#define ALIVE current
#endif

/* One flight after another: a get, or a load of what is not there, or that is to be refreshed. */
proctype flight(byte n)
{
    byte got, got_ver, least;
    bool lease, lost;
    do
    :: atomic { /* memory is looked at as it begins; it waits for writes of its node */
            !busy[n] && mem[n] == 0;
            flies[n] = true;
            least = (own[n] > told[n] -> own[n] : told[n])
       };
       atomic { /* GET */
            if
            :: SERVED -> got = val + 1; got_ver = ver
            :: else
            fi
       };
       if
       :: got != 0 -> skip
       :: true -> /* nothing there; or what is there is stale, and refreshed */
            atomic { /* lease */
                if
                :: kind == leased && current && holder != n -> got = 0 /* who waited for long loads by itself */
                :: SERVED && got == 0 -> got = val + 1; got_ver = ver
                :: else ->
                    if
                    :: SERVED -> stands(leased, val, ver, n, true, true)
                    :: else -> stands(leased, 0, 0, n, false, true)
                    fi;
                    lease = true; got = 0
                fi
            };
            if
            :: got == 0 ->
                atomic { got = origin + 1; got_ver = 0 }; /* the loader looks at the origin, and then takes its time */
                if
                :: lease -> atomic { /* store */
                        if
                        :: MINE(n) && ALIVE ->
                            stands(entry, got - 1, VERSION(2 * carried + 1), 0, false, true);
                            got_ver = ver
                        :: else -> lost = true
                        fi;
                        assert(STORE_HOLDS)
                   }
                :: lease -> atomic { /* it failed: released */
                        if
                        :: kind == leased && holder == n -> unwrap()
                        :: else
                        fi;
                        lost = true
                   }
                :: !lease -> skip
                fi
            :: else
            fi
       fi;
       atomic { /* memory, and the answer */
            if
            :: !lost && MAY_FILL(n) -> mem[n] = got; mem_ver[n] = got_ver
            :: else
            fi;
            assert(got > least);
            assert(MEM_HOLDS(n));
            got = 0; got_ver = 0; lease = false; lost = false; least = 0; flies[n] = false; poisoned[n] = false
       }
    od
}

proctype writer(byte n)
{
    byte mine;
    do
    :: atomic {
            !writing && origin < WRITES;
            writing = true;
            origin++;
            mine = origin;
            busy[n] = true;
            poisoned[n] = flies[n]
       };
       if
       :: atomic { /* delete: the store first */
            carried++;
            write_ver[n] = VERSION(2 * carried);
            stands(tombstone, 0, 0, 0, false, true)
          };
          atomic { mem[n] = 0; mem_ver[n] = 0 }
       :: atomic { /* set: the store first */
            carried++;
            write_ver[n] = VERSION(2 * carried);
            stands(entry, mine, write_ver[n], 0, false, true)
          };
          atomic {
            if
            :: outdated[n] -> mem[n] = 0; mem_ver[n] = 0
            :: else -> mem[n] = mine + 1; mem_ver[n] = write_ver[n]
            fi
          }
       fi;
#ifdef LOG
       atomic { log_val[logged] = mine; log_ver[logged] = write_ver[n]; log_from[logged] = n; logged++ };
#endif
       atomic {
            busy[n] = false; outdated[n] = false; write_ver[n] = 0;
            own[n] = mine;
            returned = mine;
            writing = false;
            assert(STORE_HOLDS);
            assert(MEM_HOLDS(n));
            mine = 0
       }
    od
}

proctype listener(byte n)
{
    do
    :: atomic {
            heard[n] < logged;
            if
            :: log_from[heard[n]] != n ->
#ifndef NO_LOG_FENCE
                poisoned[n] = flies[n];
#endif
                if
                :: busy[n] && write_ver[n] < log_ver[heard[n]] -> outdated[n] = true
                :: else
                fi;
                if
                :: mem[n] != 0 && mem_ver[n] < log_ver[heard[n]] -> mem[n] = 0; mem_ver[n] = 0
                :: else
                fi;
                told[n] = log_val[heard[n]]
            :: else
            fi;
            heard[n]++;
            assert(MEM_HOLDS(n))
       }
    od
}

/* Time, want of room, other clients, and misfortune. */
proctype world()
{
    do
    :: atomic { kind == leased -> unwrap(); assert(STORE_HOLDS) }
    :: atomic { kind == tombstone || kind == entry -> stands(nothing, 0, 0, 0, false, true) }
    :: atomic { mem[0] != 0 -> mem[0] = 0; mem_ver[0] = 0 }
    :: atomic { mem[1] != 0 -> mem[1] = 0; mem_ver[1] = 0 }
#ifdef FAILOVER
    :: atomic {
            !replicated ->
            replicated = true;
            r_kind = kind; r_val = val; r_ver = ver; r_holder = holder; r_wraps = wraps
       }
    :: atomic {
            replicated && !failed_over ->
            failed_over = true;
            stands(r_kind, r_val, r_ver, r_holder, r_wraps, r_kind == nothing);
            r_kind = nothing; r_val = 0; r_ver = 0; r_holder = 0; r_wraps = false;
            assert(STORE_HOLDS)
       }
#endif
    od
}

init
{
    atomic {
        run flight(0); run flight(1);
        run writer(0); run writer(1);
#ifdef LOG
        run listener(0); run listener(1);
#endif
        run world()
    }
}
