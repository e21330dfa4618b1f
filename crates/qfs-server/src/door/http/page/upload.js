// Uploads by chooser and by drag and drop, continued where they were cut off (docs/HTTP.md, "Uploads in several requests"); and
// removing files. Names are put into the page as text and into addresses encoded, and become markup nowhere.
"use strict";
{
  const list = document.getElementById("uploads");
  const told = document.getElementById("told");
  const choose = document.getElementById("choose");
  const pick = document.getElementById("pick");

  const AT_ONCE = 2; // uploads under way
  const TRIES = 12; // in a row that bring nothing
  const PAUSE = 500; // ms before the second try; doubled each time
  const LONGEST_PAUSE = 15000;

  // What the server says is wrong, for people.
  async function sentence(answer) {
    try {
      return (await answer.json()).error.message;
    } catch {
      return `${answer.status} ${answer.statusText}`;
    }
  }

  const ask = (address, method, headers, signal) =>
    fetch(address, { method, headers: { Accept: "application/json", ...headers }, cache: "no-store", signal });

  // A browser may have none; then an upload goes on for as long as the page is open.
  function memory(act) {
    try {
      return act(localStorage);
    } catch {
      return null;
    }
  }

  // Trying again does not help.
  class Final extends Error {}

  // It does, and this is what is wrong meanwhile. Other errors are those of a network.
  class Later extends Error {}

  // A row of the uploads, which begins with a name.
  function newRow(text) {
    const row = document.createElement("li");
    const name = document.createElement("bdi");
    name.textContent = text;
    row.append(name);
    list.append(row);
    list.hidden = false;
    return row;
  }

  // One upload, and its row in the page.
  class Upload {
    constructor(file, path = file.name) {
      this.file = file;
      this.path = path;
      this.gone = new AbortController();
      this.row = newRow(path);
      this.state = document.createElement("span");
      this.state.className = "state";
      this.state.setAttribute("role", "status");
      // Not read out at each step; the bar says the same to whoever asks.
      this.share = document.createElement("span");
      this.share.className = "state";
      this.share.setAttribute("aria-hidden", "true");
      this.bar = document.createElement("progress");
      this.bar.max = Math.max(file.size, 1);
      this.bar.value = 0;
      this.bar.setAttribute("aria-label", path);
      this.buttons = document.createElement("span");
      this.row.append(this.state, this.share, this.buttons, this.bar);
      this.row.dataset.state = "waiting";
      this.say("waiting");
      // What is asked for again finds the upload that it began.
      this.key = `upload ${location.pathname} ${file.size} ${file.lastModified} ${path}`;
      this.address = memory((store) => store.getItem(this.key));
    }

    say(text) {
      if (this.state.textContent !== text) this.state.textContent = text;
      this.share.textContent = "";
    }

    offer(...choices) {
      this.buttons.replaceChildren(
        ...choices.map(([text, act]) => {
          const button = document.createElement("button");
          button.type = "button";
          button.className = "button";
          button.textContent = text;
          button.addEventListener("click", act);
          return button;
        }),
      );
    }

    end(state, text) {
      this.row.dataset.state = state;
      this.row.classList.toggle("failed", state === "failed");
      this.offer();
      this.say(text);
    }

    // Of what is over for good nothing is kept here.
    close(state, text) {
      this.forget();
      this.end(state, text);
    }

    // Whoever chooses the file again goes on where this stops.
    leave(error) {
      const why = error instanceof Later ? error.message : "the server cannot be reached";
      this.end("failed", `${why}; choose the file again to go on`);
    }

    remember(address) {
      this.address = address;
      memory((store) => store.setItem(this.key, address));
    }

    forget() {
      this.address = null;
      memory((store) => store.removeItem(this.key));
    }

    // Asks whether what is there is to be replaced.
    replace() {
      return new Promise((answer) => {
        this.row.dataset.state = "asking";
        this.say("a file of this name is there");
        this.offer(["Replace", () => answer(true)], ["Keep", () => answer(false)]);
      });
    }

    async run() {
      this.row.dataset.state = "running";
      let tries = 0;
      let most = 0; // bytes that have arrived
      let version = null; // the one to be replaced, by its tag; null: none may be there
      for (;;) {
        this.offer(["Cancel", () => this.cancel()]);
        try {
          const offset = await this.find(version);
          if (this.isCancelled) return this.giveUp();
          if (offset === null) {
            // The version that is asked about, so that none is replaced that came later.
            version = await this.version();
            if (!(await this.replace())) return this.close("kept", "kept as it was");
            this.row.dataset.state = "running";
            continue;
          }
          // A try that was cut off has brought something too.
          if (offset > most) [most, tries] = [offset, 0];
          if (offset < this.file.size || !this.whole) {
            this.row.dataset.from = offset;
            const answer = await this.send(offset);
            if (answer.status === 412) {
              // Another one came meanwhile.
              version = null;
              this.forget();
              continue;
            }
            if (answer.status === 409 || answer.status === 408 || (answer.status >= 500 && answer.status !== 507)) throw new Later("the server could not take it");
            // The disk may have room again later; what has arrived is kept until then.
            if (answer.status === 507) return this.leave(new Later(this.wrong(answer)));
            if (answer.status >= 300) throw new Final(this.wrong(answer));
          }
          this.bar.value = this.bar.max;
          return this.close("done", "done");
        } catch (error) {
          if (this.isCancelled) return this.giveUp();
          if (error instanceof Final) return this.close("failed", error.message);
          if (tries >= TRIES) return this.leave(error);
          this.say("waiting for the server");
          await this.pause(tries++);
          if (this.isCancelled) return this.giveUp();
        }
      }
    }

    // Waits for a while, or until it is cancelled.
    pause(tries) {
      return new Promise((done) => {
        this.gone.signal.addEventListener("abort", done, { once: true });
        setTimeout(done, Math.min(PAUSE * 2 ** tries, LONGEST_PAUSE));
      });
    }

    // Its address. In front of it stands what makes it a path whatever the name has in it.
    target() {
      return `./${this.path.split("/").map(encodeURIComponent).join("/")}`;
    }

    // The tag of the version that is there. One that has changed just now has none yet.
    async version() {
      const answer = await ask(this.target(), "HEAD", {}, this.gone.signal);
      const tag = answer.headers.get("ETag");
      if (!answer.ok || tag === null || tag.startsWith("W/")) throw new Later("the server cannot tell yet which version it has");
      return tag;
    }

    // Where to go on; null when something is there that was not to be replaced.
    async find(version) {
      this.whole = false;
      if (this.address) {
        const answer = await ask(this.address, "HEAD", {}, this.gone.signal);
        this.whole = answer.headers.get("Upload-Complete") === "?1";
        // What another page brought to its end may be gone again by now.
        if (answer.ok && (this.request || !this.whole)) return Number(answer.headers.get("Upload-Offset"));
        if (answer.status >= 500) throw new Later("the server could not tell how much it has");
        this.forget();
        this.whole = false;
      }
      const headers = {
        "Upload-Complete": "?0",
        "Upload-Length": String(this.file.size),
        "Last-Modified": new Date(this.file.lastModified).toUTCString(),
      };
      if (version === null) headers["If-None-Match"] = "*";
      else headers["If-Match"] = version;
      const answer = await ask(this.target(), "POST", headers, this.gone.signal);
      if (answer.status === 412) return null;
      if (answer.status === 503 || answer.status === 500) throw new Later("the server could not take it");
      if (!answer.ok) throw new Final(await sentence(answer));
      this.remember(answer.headers.get("Location"));
      return 0;
    }

    send(offset) {
      return new Promise((done, fail) => {
        const request = new XMLHttpRequest();
        request.open("PATCH", this.address);
        request.setRequestHeader("Content-Type", "application/partial-upload");
        request.setRequestHeader("Upload-Offset", String(offset));
        request.setRequestHeader("Upload-Complete", "?1");
        request.setRequestHeader("Accept", "application/json");
        request.upload.addEventListener("progress", (event) => this.show(offset + event.loaded));
        request.addEventListener("load", () => done(request));
        for (const event of ["error", "abort", "timeout"]) request.addEventListener(event, () => fail(new Error("the connection was cut")));
        this.request = request;
        this.show(offset);
        request.send(this.file.slice(offset));
      });
    }

    show(sent) {
      this.bar.value = sent;
      this.say("uploading");
      this.share.textContent = `${Math.floor((100 * sent) / this.bar.max)} %`;
    }

    wrong(request) {
      try {
        return JSON.parse(request.responseText).error.message;
      } catch {
        return `${request.status} ${request.statusText}`;
      }
    }

    // Ends whatever it does or waits for.
    cancel() {
      this.isCancelled = true;
      this.gone.abort();
      this.request?.abort();
    }

    // Has the server forget what has arrived. One that cannot be reached does so by itself, in time.
    giveUp() {
      if (this.address) ask(this.address, "DELETE").catch(() => {});
      this.close("cancelled", "cancelled");
    }
  }

  const waiting = [];
  const all = [];
  let running = 0;
  async function work() {
    if (running >= AT_ONCE) return;
    running += 1;
    for (let upload = waiting.shift(); upload; upload = waiting.shift()) await upload.run();
    running -= 1;
    // The server's own list has them then; where something went wrong it has to be read first.
    if (running === 0 && all.every((upload) => upload.row.dataset.state === "done")) location.reload();
  }
  function take(file, path) {
    const upload = new Upload(file, path);
    all.push(upload);
    waiting.push(upload);
    work();
  }

  // What was dropped and is no upload, with what is wrong with it.
  function refuse(path, text) {
    const row = newRow(path);
    row.dataset.state = "failed";
    row.classList.add("failed");
    row.append(` ${text}`);
    all.push({ row });
  }

  const called = (what, name, ...more) => new Promise((done, fail) => what[name](...more, done, fail));

  // Takes a file, and of a directory all that is below it, with the names that lead there. The server keeps no hidden names.
  async function takeEntry(entry) {
    const path = entry.fullPath.replace(/^\//, "");
    try {
      if (entry.isFile) return take(await called(entry, "file"), path);
      const reader = entry.createReader();
      let hidden = 0;
      // It gives some at a time.
      for (let some = await called(reader, "readEntries"); some.length > 0; some = await called(reader, "readEntries")) {
        for (const inner of some) {
          if (inner.name.startsWith(".")) hidden += 1;
          else await takeEntry(inner);
        }
      }
      if (hidden > 0) refuse(`${path}/`, `hidden names left out: ${hidden}`);
    } catch {
      refuse(path, "it cannot be read");
    }
  }

  if (choose) {
    choose.hidden = false;
    choose.addEventListener("click", () => pick.click());
    pick.addEventListener("change", () => {
      for (const file of [...pick.files]) take(file);
      pick.value = "";
    });
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    for (const name of ["dragenter", "dragover"]) {
      document.addEventListener(name, (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        document.body.classList.add("dropping");
      });
    }
    document.addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      document.body.classList.remove("dropping");
      // They can be asked for until this returns.
      for (const item of [...event.dataTransfer.items].filter((item) => item.kind === "file")) {
        const entry = item.webkitGetAsEntry?.();
        if (entry) takeEntry(entry);
        else take(item.getAsFile());
      }
    });
    addEventListener("beforeunload", (event) => {
      if (running > 0) event.preventDefault();
    });
  }

  // A button for each row, which is pressed twice.
  const table = document.getElementById("files");
  for (const row of "removable" in table.dataset ? table.tBodies[0].rows : []) {
    if (!("name" in row.dataset)) continue;
    const link = row.querySelector("td.name a");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "remove";
    const calm = () => {
      button.classList.remove("sure");
      button.textContent = "Delete";
      button.setAttribute("aria-label", `Delete ${row.dataset.name}`);
    };
    calm();
    button.addEventListener("blur", calm);
    button.addEventListener("click", async () => {
      if (!button.classList.contains("sure")) {
        button.classList.add("sure");
        button.textContent = "Really delete?";
        button.setAttribute("aria-label", `Really delete ${row.dataset.name}?`);
        return;
      }
      calm();
      told.hidden = true;
      try {
        // The version that the page shows, and no other.
        const condition = "etag" in row.dataset ? { "If-Match": `"${row.dataset.etag}"` } : {};
        const answer = await ask(link.href, "DELETE", condition);
        if (answer.status === 412) throw new Error("it has changed since the page was loaded");
        if (!answer.ok) throw new Error(await sentence(answer));
        location.reload();
      } catch (error) {
        told.textContent = `${row.dataset.name} was not deleted: ${error.message}`;
        told.hidden = false;
      }
    });
    row.querySelector("td.view").append(button);
  }
}
