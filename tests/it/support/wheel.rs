//! Packages of Python, made here: no index is asked.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A wheel with a module and a command of its name, which say its version.
const WHEEL: &str = r#"
import sys, zipfile
name, version, out = sys.argv[1:]
info = f"{name}-{version}.dist-info"
files = {
    f"{name}.py": f"VERSION = '{version}'\n\n\ndef main():\n    print('{name}', VERSION)\n",
    f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
}
record = "".join(f"{path},,\n" for path in files) + f"{info}/RECORD,,\n"
with zipfile.ZipFile(f"{out}/{name}-{version}-py3-none-any.whl", "w") as wheel:
    for path, text in [*files.items(), (f"{info}/RECORD", record)]:
        wheel.writestr(path, text)
"#;

/// Makes the package `name` of this version in a directory.
pub fn wheel(name: &str, version: &str, into: &Path) {
    std::fs::create_dir_all(into).unwrap();
    let mut python = Command::new("python3");
    let mut made = python.arg("-").args([name, version]).arg(into).stdin(Stdio::piped()).spawn().unwrap();
    made.stdin.take().unwrap().write_all(WHEEL.as_bytes()).unwrap();
    assert!(made.wait().unwrap().success());
}
