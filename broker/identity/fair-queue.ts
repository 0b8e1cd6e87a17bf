// Who waits, by group and member of a group (namespace and ServiceAccount): turns go round the groups and within a group
// round its members, and where there is no room the longest queue gives way. What it holds is bounded.

/** In whose name somebody waits. */
export interface Turn {
  readonly group: string;
  readonly member: string;
}

export interface FairQueue<T> {
  readonly size: number;
  /** How many wait in the group, and in how many groups anybody waits. */
  countOf(group: string): number;
  readonly groups: number;
  /**
   * @returns `undefined` where there was room; else the one that had to give way, which may be the new one itself: the
   *   newest of the longest queue
   */
  add(turn: Turn, item: T): T | undefined;
  /** Takes the next one out. */
  next(): T | undefined;
  /** Takes one out that waits no more. */
  remove(turn: Turn, item: T): void;
}

interface Group<T> {
  size: number;
  /** In the order of their next turn; none is empty. A Set gives up one from its middle in constant time. */
  readonly members: Map<string, Set<T>>;
}

export function createFairQueue<T>(maxSize: number): FairQueue<T> {
  const groups = new Map<string, Group<T>>();
  // Names of groups by their size: whoever floods a full queue from thousands of groups must not have them all looked at.
  const bySize = new Map<number, Set<string>>();
  let longest = 0;
  let size = 0;

  function resize(name: string, group: Group<T>, change: 1 | -1): void {
    const before = bySize.get(group.size);
    before?.delete(name);
    if (before?.size === 0) bySize.delete(group.size);
    group.size += change;
    size += change;
    if (group.size > 0) bySize.set(group.size, (bySize.get(group.size) ?? new Set()).add(name));
    longest = Math.max(longest, group.size);
    // By one at most: a group only ever changes by one.
    while (longest > 0 && !bySize.has(longest)) longest -= 1;
  }

  function take({ group: groupName, member: memberName }: Turn, item: T): void {
    const group = groups.get(groupName);
    const member = group?.members.get(memberName);
    if (!group || !member?.delete(item)) return;
    resize(groupName, group, -1);
    if (member.size === 0) group.members.delete(memberName);
    if (group.size === 0) groups.delete(groupName);
  }

  function put({ group: groupName, member: memberName }: Turn, item: T): void {
    const group: Group<T> = groups.get(groupName) ?? { size: 0, members: new Map() };
    const member = group.members.get(memberName) ?? new Set();
    groups.set(groupName, group);
    group.members.set(memberName, member);
    member.add(item);
    resize(groupName, group, 1);
  }

  /** Whose newest one is to go for a newcomer; undefined: the newcomer itself. */
  function findVictim(turn: Turn): Turn | undefined {
    const own = groups.get(turn.group);
    const [name = ''] = bySize.get(longest) ?? [];
    const other = groups.get(name);
    if (other && other.size > (own?.size ?? 0) + 1) {
      const [member] = findLongest(other.members);
      return { group: name, member };
    }
    if (!own) return undefined;
    const [member, items] = findLongest(own.members);
    const isLonger = items && items.size > (own.members.get(turn.member)?.size ?? 0) + 1;
    return isLonger ? { group: turn.group, member } : undefined;
  }

  return {
    get size() {
      return size;
    },
    get groups() {
      return groups.size;
    },
    countOf: (group) => groups.get(group)?.size ?? 0,
    add: (turn, item) => {
      if (size < maxSize) {
        put(turn, item);
        return undefined;
      }
      const victim = findVictim(turn);
      const newest =
        victim && [...(groups.get(victim.group)?.members.get(victim.member) ?? [])].at(-1);
      if (!victim || newest === undefined) return item;
      take(victim, newest);
      put(turn, item);
      return newest;
    },
    next: () => {
      const [group] = groups;
      const [member] = group?.[1].members ?? [];
      const [item] = member?.[1] ?? [];
      if (!group || !member || item === undefined) return undefined;
      take({ group: group[0], member: member[0] }, item);
      // To the end of the round, both: whoever comes anew begins there, too.
      toEnd(groups, group[0]);
      toEnd(group[1].members, member[0]);
      return item;
    },
    remove: take,
  };
}

function findLongest<T>(
  members: ReadonlyMap<string, Set<T>>,
): [name: string, longest: Set<T> | undefined] {
  let found: [string, Set<T> | undefined] = ['', undefined];
  for (const [name, items] of members)
    if (items.size > (found[1]?.size ?? 0)) found = [name, items];
  return found;
}

function toEnd<T>(map: Map<string, T>, name: string): void {
  const value = map.get(name);
  if (value === undefined) return;
  map.delete(name);
  map.set(name, value);
}
