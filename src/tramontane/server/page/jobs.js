// Long work: started here, done by a process of its own, which goes on without the page.

import { get, post } from "/api.js";

const ENDED = ["done", "failed", "cancelled"];

export const hasEnded = (job) => ENDED.includes(job.state);

export async function startJob(kind, given = {}) {
  return (await post("/api/jobs", { kind, arguments: given })).job;
}

export async function steerJob(job, wish) {
  return (await post(`/api/jobs/${job.id}/${wish}`)).job;
}

// The newest job of a kind that is not over: one that another page started, or this one before.
export async function openJob(kind) {
  const { jobs } = await get("/api/jobs");
  return jobs.find((job) => job.kind === kind && !hasEnded(job)) ?? null;
}

// Calls onJob and onLine until the job ends or pauses; returns a function that stops listening.
export function followJob(job, onJob, onLine) {
  const source = new EventSource(`/api/jobs/${job.id}/lines`);
  source.addEventListener("line", ({ data }) => onLine(JSON.parse(data)));
  source.addEventListener("job", ({ data }) => {
    const now = JSON.parse(data);
    if (hasEnded(now) || now.state === "paused") source.close();
    onJob(now);
  });
  return () => source.close();
}
