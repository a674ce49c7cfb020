/** The known names that someone may have meant: for refusals that name the right key, job type or zone. */

const SHOWN = 3;

/**
 * The known names nearest to the given one, nearest first, at most three; empty when none is near. Letter case does
 * not count, and a name that begins with what was given (`Sample` for `SampleJob`) is near whatever its length.
 */
export function nearestNames(given: string, known: Iterable<string>): readonly string[] {
  const wanted = given.toLowerCase();
  // A third of the letters may be wrong; longer texts are no slips of the finger, and would cost time.
  const tolerance = Math.max(1, Math.floor(wanted.length / 3));
  const candidates: { readonly name: string; readonly distance: number }[] = [];
  for (const name of known) {
    const lower = name.toLowerCase();
    if (wanted.length >= 3 && lower.startsWith(wanted)) candidates.push({ name, distance: 0 });
    else if (Math.abs(lower.length - wanted.length) <= tolerance && wanted.length <= 100) {
      const distance = editDistance(wanted, lower);
      if (distance <= tolerance) candidates.push({ name, distance });
    }
  }
  return candidates
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, SHOWN)
    .map((candidate) => candidate.name);
}

/**
 * How many letters must be put in, left out, replaced, or swapped with their neighbour to turn one text into the
 * other (optimal string alignment).
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (last[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      let best = Math.min((last[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, replaced);
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (isSwap) best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}
