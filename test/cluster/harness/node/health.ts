// Whether a process of the node answers its own health check.

/** True for 200, false for anything else and for nobody there. */
export async function isAnswering(url: string): Promise<boolean> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(2000) }).catch(() => undefined);
  await answer?.body?.cancel();
  return answer?.status === 200;
}
